"""What a run will cost is said before anything is generated."""

import numpy as np
import pytest

from configs import senet, vnet
from dtc_jax.cohort import phantom
from dtc_jax.errors import UsageError
from dtc_jax.experiment import cost


def test_the_lesions_of_a_phantom_are_counted_without_its_scans():
    found = cost.expected_cost(senet.get_config("demo"))
    assert found.examples == 156 + 47  # as a run selects them
    assert found.networks == 1
    assert found.steps == 200
    assert found.cpu_minutes == pytest.approx(found.flops / 4e10 / 60)


def test_a_segmenters_patches_follow_from_the_share_with_lesion():
    config = vnet.get_config("demo").unlock()
    found = cost.expected_cost(config)
    config.data.lesion_share = 0.25
    assert cost.expected_cost(config).examples == 2 * found.examples


def test_each_fold_and_each_candidate_is_a_network(tmp_path):
    config = senet.get_config("lidc").unlock()
    path = tmp_path / "lesions.csv"
    path.write_text("patient_id,lesion_id\n" + "p,l\n" * 400)
    config.data.manifest = str(path)
    found = cost.expected_cost(config)
    assert (found.examples, found.networks) == (400, 20)
    assert found.steps == 400 * 4 // 5 * 85 // 100 // 16 * 20
    config.split.folds = 0
    assert cost.expected_cost(config).networks == 4
    config.candidates = {}
    assert cost.expected_cost(config).networks == 1


@pytest.mark.extras
def test_a_candidate_may_be_an_ensemble_of_its_own():
    config = senet.get_config("demo").unlock()
    config.candidates = {"alone": {}, "three": {"train": {"ensemble": 3}}}
    found = cost.expected_cost(config)
    assert found.networks == 1 + 3
    config.candidates = {"alone": {}, "another": {}}
    assert cost.expected_cost(config).flops < found.flops


@pytest.mark.extras
def test_a_candidate_may_train_in_its_own_way():
    config = senet.get_config("demo").unlock()
    config.candidates = {"alone": {}}
    alone = cost.expected_cost(config)
    config.candidates = {"short": {"train": {"epochs": 10}}}
    short = cost.expected_cost(config)
    assert (alone.steps, short.steps) == (200, 50)
    config.candidates = {"alone": {}, "snapshots": {"train": {"snapshots": 4}}}
    both = cost.expected_cost(config)
    assert (both.networks, both.steps) == (1 + 4, 200)
    assert 1.9 * alone.flops < both.flops < 2.1 * alone.flops


def test_a_split_without_validation_trains_on_all_that_is_not_tested():
    config = senet.get_config("demo").unlock()
    with_validation = cost.expected_cost(config)
    config.split.kind = "two_part"
    assert with_validation.steps == 200
    assert cost.expected_cost(config).steps == 40 * (int(156 * 0.7) // 16)


def test_the_labels_of_an_npz_are_counted(tmp_path):
    config = senet.get_config("adrenal").unlock()
    config.data.npz = str(tmp_path / "a.npz")
    np.savez(config.data.npz, train_labels=np.ones((30, 1)), val_labels=np.ones((9, 1)))
    assert cost.expected_cost(config).examples == 39
    (tmp_path / "a.npz").write_bytes(b"PK torn")
    assert cost.expected_cost(config).examples == 0


def test_a_file_that_is_not_there_is_refused():
    config = senet.get_config("demo").unlock()
    config.data.source = "manifest"
    with pytest.raises(UsageError, match=r"config\.data\.manifest is empty"):
        cost.expected_cost(config)


def test_the_size_and_the_quick_variant_are_printed_before_anything_is_generated(
    call, tmp_path, monkeypatch, capsys
):
    def generate_in(folder, spec):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "generate_in", generate_in)
    arguments = (f"--workdir={tmp_path / 'run'}", f"--config.data.folder={tmp_path / 'data'}")
    assert call("--config=configs/senet.py", *arguments) == 75
    said = capsys.readouterr().out
    assert "classification on this CPU: 720 steps, on about 378 examples" in said
    # A count of operations does not know this machine, so it gives a range.
    assert "it takes 4 h to 41 h; for a quick look: --config=configs/senet.py:demo" in said
    assert not (tmp_path / "data").exists()

"""Hard negatives and ensembles on whole chests: what is mined, what a stopped run goes on with."""

import json
import os
import signal

import jax
import numpy as np
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.errors import InputError, Stopped, UsageError
from dtc_jax.experiment import checks, network
from dtc_jax.imaging import volume
from dtc_jax.imaging.preprocess import IGNORED
from dtc_jax.runs import train
from dtc_jax.training import batches
from tests import trained_runs


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    """Three chests, one a split; half of the lungs of the first is ignored."""
    folder = tmp_path_factory.mktemp("scans")
    rows = []
    for i, split in enumerate(("train", "validation", "test")):
        image, numbers = trained_runs.chest(i)
        volume.write(folder / f"{i}.nii.gz", image)
        volume.write(folder / f"{i}-mask.nii.gz", numbers)
        ignored = np.zeros(image.shape, np.uint8)
        ignored[: image.shape[0] // 3] = 1
        volume.write(folder / f"{i}-ignore.nii.gz", volume.Volume(ignored, image.affine))
        for number in (1, 2):
            scan = (f"{i}.nii.gz", f"{i}-mask.nii.gz", f"{i}-ignore.nii.gz" if i == 0 else "")
            rows.append((f"p{i}", f"p{i}-{number}", number, *scan, split))
    columns = ["patient_id", "lesion_id", "mask_label", "image", "mask", "ignore", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "lesions.csv", index=False)
    return folder / "lesions.csv"


@pytest.fixture
def config(chests):
    config = vnet.get_config("demo").unlock()
    config.data.update(source="manifest", manifest=str(chests), folder=str(chests.parent / "data"))
    config.data.update(size_mm=(80,) * 3, other_per_scan=6, border_share=0.3)
    config.split.kind = "column"
    config.preprocess.update(crop_mm=(64,) * 3, spacing_mm=4.0)
    config.predict.update(crop_mm=(64,) * 3, min_volume_mm3=64.0, batch_size=8)
    config.model.update(widths=(4, 8), convolutions=(1, 1), se="none")
    config.augment.set_in = 0.5
    config.train.update(epochs=4, batch_size=8, evaluate_every_epochs=1)
    config.train.hard_negatives.update(rounds=1, after_epochs=1, per_scan=3)
    return config


@pytest.mark.extras
def test_what_is_found_wrongly_becomes_patches_and_a_stopped_run_ends_alike(config, tmp_path):
    train.run(config, tmp_path / "whole")
    home = tmp_path / "whole" / "hard_negatives" / "round-1"
    (count,) = json.loads((home / "round.json").read_text())["patches"].values()
    with np.load(home / "scan-000.npz") as stored:
        assert len(stored["image"]) == count
        assert 0 < count <= 3  # a network that has seen one epoch finds nearly anything
        middle = stored["mask"][:, 9, 9, 9]
        assert not np.isin(middle, (1, IGNORED)).any()

    def stop_after_the_round(evaluated):
        if evaluated.step >= 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    with pytest.raises(Stopped):
        train.run(config, tmp_path / "stopped", stop_after_the_round)
    train.run(config, tmp_path / "stopped")
    one, other = (network.load(tmp_path / name) for name in ("whole", "stopped"))
    assert one.fingerprints == other.fingerprints


@pytest.mark.extras
def test_an_ensemble_decides_by_the_mean_of_its_logits(config, tmp_path):
    config.train.hard_negatives.rounds = 0
    config.train.update(ensemble=2, epochs=1)
    train.run(config, tmp_path / "run")
    together = network.load(tmp_path / "run", "segmentation")
    (member,) = together.members
    assert len(member.params) == 2
    image = np.random.default_rng(0).integers(-900, 100, (1, 16, 16, 16)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    single = config.copy_and_resolve_references()
    single.train.ensemble = 1
    logit = jax.jit(together.task.make_logit(single))
    each = [
        logit(*variables, image, mask)
        for variables in zip(member.params, member.batch_stats, strict=True)
    ]
    assert np.abs(each[0] - each[1]).max() > 1e-3  # their seeds differ
    mean = jax.jit(together.logit)(together.variables, image, mask)
    np.testing.assert_allclose(mean, (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-5)
    config.init_from, config.train.ensemble = str(tmp_path / "run"), 1
    with pytest.raises(InputError, match="has 2 networks"):
        train.run(config, tmp_path / "next")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("after_epochs", 4, "do not end before the 4 epochs"),
        ("share", 0.0, r"share is 0.0; it must be in \(0, 1\]"),
        ("per_scan", 0, "per_scan is 0"),
    ],
)
def test_impossible_rounds_are_refused(config, field, value, words):
    config.train.hard_negatives[field] = value
    with pytest.raises(UsageError, match=words):
        checks.check(config)


def test_snapshots_are_refused_beside_hard_negatives(config):
    config.train.update(snapshots=2, epochs=4)
    with pytest.raises(UsageError, match=r"snapshots must be 1 where .*hard_negatives"):
        checks.check(config)


def test_replaced_rows_depend_on_seed_and_number_alone():
    def stored():
        while True:
            yield {
                "label": np.array([0.0, 1.0, 0.0, 0.0], np.float32),
                **{name: np.zeros((4, 2), np.int16) for name in ("image", "mask", "extent")},
            }

    class Stored:
        def __init__(self):
            self._rows = stored()

        def __next__(self):
            return next(self._rows)

        def get_state(self):
            return {}

        def set_state(self, state):
            pass

    ones = {name: np.ones(2, np.int16) for name in ("image", "mask", "extent")}
    first = batches.WithReplacements(Stored(), seed=3)
    assert not next(first)["image"].any()  # nothing to replace them with yet
    first.replace([ones], share=0.5, from_batch=1)
    state = first.get_state()
    rows = [next(first)["image"][:, 0].tolist() for _ in range(8)]
    assert not any(row[1] for row in rows)  # lesions stay
    assert 4 < sum(map(sum, rows)) < 20
    again = batches.WithReplacements(Stored(), seed=3)
    again.replace([ones], share=0.5, from_batch=3)
    again.set_state({"batches": {}, "count": 1})
    assert not next(again)["image"].any()  # it was not changed the first time
    again.replace([ones], share=0.5, from_batch=1)
    again.set_state(state)
    assert [next(again)["image"][:, 0].tolist() for _ in range(8)] == rows

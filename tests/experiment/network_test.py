"""Networks read from the folder of their run alone say what the run said of its lesions."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import special

from configs import vnet
from dtc_jax.cohort import manifest
from dtc_jax.errors import InputError, Stopped, UsageError
from dtc_jax.experiment import network, workdir
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import classify
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.runs import evaluate, train
from dtc_jax.sweep import folder as sweep_folder
from dtc_jax.sweep import plan
from tests import trained_runs


def _classifier(folder):
    return make_classifier(network.load_with_threshold(folder, "classification"))


def _threshold(folder):
    return network.load_with_threshold(folder, "classification").threshold


def _scans(study):
    """Each patient's scan, its numbered lesions and their ids by number."""
    for _, rows in manifest.read_manifest(study).groupby("image"):
        image = volume.read_image(rows.image.iloc[0])
        mask = volume.read_image(rows["mask"].iloc[0])
        yield image, mask, dict(zip(rows.mask_label.astype(int), rows.lesion_id, strict=True))


def _table(run):
    return pd.read_csv(run.workdir / "predictions.csv", dtype={"lesion_id": str})


def test_a_lesion_of_a_scan_has_the_score_that_its_run_gave_it(study, classifier, tmp_path):
    shutil.copytree(classifier.workdir, tmp_path / "carried")
    config = json.loads((tmp_path / "carried" / "config.json").read_text())
    config["data"].update(manifest="nowhere.csv", folder="nowhere")
    (tmp_path / "carried" / "config.json").write_text(json.dumps(config))
    loaded = _classifier(tmp_path / "carried")
    known = _table(classifier).set_index("lesion_id").score
    seen = 0
    for image, mask, names in _scans(study):
        for one in classify.classify(loaded, image, mask):
            assert one.heat is None
            if names[one.lesion_id] in known:  # not the one without a label
                assert one.probability == pytest.approx(known[names[one.lesion_id]], abs=1e-5)
                seen += 1
    assert seen == len(known) == 43
    assert known.std() > 0.01


@pytest.mark.extras
def test_folds_decide_by_the_mean_of_their_logits(study, folds):
    members = network.load(folds.workdir, "classification").members
    assert len(members) == 2
    assert all(set(one.candidates) == {"near", "far"} for one in members)
    table = _table(folds)
    logits = np.log(table.score / (1 - table.score)).groupby(table.lesion_id).mean()
    loaded = _classifier(folds.workdir)
    image, mask, names = next(iter(_scans(study)))
    for one in classify.classify(loaded, image, mask, heat=True):
        if names[one.lesion_id] in logits:
            expected = 1 / (1 + np.exp(-logits[names[one.lesion_id]]))
            assert one.probability == pytest.approx(expected, abs=1e-5)
        assert one.heat.shape == (20, 20, 20)
    apart = table.groupby("fold").threshold.first()
    expected = 1 / (1 + np.exp(-np.log(apart / (1 - apart)).mean()))
    assert _threshold(folds.workdir) == pytest.approx(expected)


def test_a_fold_of_more_networks_counts_for_as_many_in_the_threshold(folds):
    trained = network.load(folds.workdir, "classification")
    one, other = trained.members
    config = one.config.copy_and_resolve_references().unlock()
    config.train.ensemble = 5  # as a candidate may have it
    five = dataclasses.replace(
        one, config=config, params=(one.params,) * 5, batch_stats=(one.batch_stats,) * 5
    )
    found = network.together(np.array([0.2, 0.9]), (five, other))
    # What lies on the threshold of each fold lies on that of the run.
    assert found == pytest.approx(special.expit((5 * special.logit(0.2) + special.logit(0.9)) / 6))
    assert network.together(np.array([0.2]), (five,)) == 0.2


def test_the_threshold_is_that_of_the_run(classifier):
    (expected,) = _table(classifier).threshold.unique()
    assert _threshold(classifier.workdir) == expected


def _trained_until(run, evaluation):
    """Goes on with a training, and stops it by a signal after so many evaluations more."""
    seen = []

    def stop(_):
        seen.append(1)
        if len(seen) == evaluation:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    with pytest.raises(Stopped):
        train.run(run.config, run.workdir, stop, announce_cost=False)


def test_a_run_trained_further_is_not_used_with_the_threshold_of_before(classifier, tmp_path):
    config = classifier.config.copy_and_resolve_references()
    config.train.update(epochs=6, keep="last")
    config.temperature = "validation"
    trial = plan.Trial("full", 0, config)
    run = trained_runs.Run(config, sweep_folder.workdir_of(tmp_path, trial))
    _trained_until(run, 1)
    figures = evaluate.run(run.workdir)
    first = network.load_with_threshold(run.workdir, "classification")
    steps = int(first.unfinished[0].split()[-1])
    assert first.unfinished == (f"step {steps // 6} of {steps}",)
    assert figures["unfinished"] == [*first.unfinished]
    assert any(f"not trained to the end ({first.unfinished[0]})" in one for one in figures["notes"])
    assert not sweep_folder.is_done(tmp_path, trial)

    _trained_until(run, 2)
    with pytest.raises(
        InputError, match=r"trained further since it was evaluated.*--mode=evaluate"
    ):
        network.load_with_threshold(run.workdir, "classification")
    evaluate.run(run.workdir)
    second = network.load_with_threshold(run.workdir, "classification")
    assert second.unfinished == (f"step {steps // 2} of {steps}",)
    assert second.members[0].temperature != first.members[0].temperature

    train.run(config, run.workdir, announce_cost=False)
    assert network.load_with_threshold(run.workdir, "classification").unfinished == ()
    assert sweep_folder.is_done(tmp_path, trial)


def test_heat_lies_about_the_lesion_on_the_grid_of_its_crop(study, classifier):
    loaded = _classifier(classifier.workdir)
    image, mask, _ = next(iter(_scans(study)))
    turned = image.affine.copy()
    turned[:3] = turned[[2, 0, 1]] * np.array([[1.0], [-1.0], [1.0]])
    turned[:3, 3] = (7.0, -40.0, 3.0)
    image, mask = Volume(image.array, turned), Volume(mask.array, turned)
    for one in classify.classify(loaded, image, mask, heat=True):
        box = np.argwhere(mask.array == one.lesion_id)
        middle_mm = image.world((box.min(axis=0) + box.max(axis=0)) / 2)
        np.testing.assert_allclose(one.heat.world([9.5] * 3), middle_mm, atol=1e-9)
        np.testing.assert_allclose(one.heat.spacing_mm, 1.0)
        np.testing.assert_allclose(one.heat.affine[:3, :3], turned[:3, :3])
        assert one.heat.array.min() >= 0
        assert not one.heat.array[:2].any()  # 16 mm of the crop's 20 are seen


def test_a_scan_without_lesions_has_none_to_classify(classifier):
    image = Volume(np.zeros((20, 20, 20), np.int16), np.eye(4))
    none = Volume(np.zeros((20, 20, 20), np.uint16), np.eye(4))
    assert list(classify.classify(_classifier(classifier.workdir), image, none, heat=True)) == []


def _copy(run, folder):
    shutil.copytree(run.workdir, folder)
    return folder


def test_a_folder_of_something_else_is_refused(classifier, tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        network.load(tmp_path, "classification")
    with pytest.raises(InputError, match=r"run of a classifier.*give it as --classifier"):
        network.load(classifier.workdir, "segmentation")
    workdir.claim(tmp_path / "vnet", vnet.get_config("demo"))
    with pytest.raises(InputError, match=r"run of a segmenter.*give it as --segmenter"):
        network.load(tmp_path / "vnet", "classification")
    with pytest.raises(InputError, match="Train first"):
        network.load(tmp_path / "vnet", "segmentation")


def test_a_config_without_its_parts_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="does not fit this version"):
        network.load(tmp_path, "classification")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 5, r"does not match its config\.json"),
        ("stages", 2, r"does not match its config\.json"),
        ("width", "four", "does not fit this version"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(classifier, tmp_path, field, value, message):
    folder = _copy(classifier, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["model"][field] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        network.load(folder, "classification")


def test_a_run_that_was_not_judged_has_no_threshold(classifier, tmp_path):
    folder = _copy(classifier, tmp_path / "run")
    (folder / "predictions.csv").unlink()
    with pytest.raises(InputError, match="--mode=evaluate"):
        _threshold(folder)
    (folder / "predictions.csv").write_text("fold,score\n0,0.5\n")
    with pytest.raises(InputError, match="cannot be read"):
        _threshold(folder)


def test_the_fingerprints_are_those_of_the_numbers_and_of_what_decides_them(classifier, tmp_path):
    def of(folder):
        return network.load(folder, "classification").fingerprints

    def changed(name, *path, value):
        folder = _copy(classifier, tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        config[path[0]][path[1]] = value
        (folder / "config.json").write_text(json.dumps(config))
        return of(folder)

    mine = of(classifier.workdir)
    assert of(_copy(classifier, tmp_path / "copy")) == mine
    assert changed("moved", "data", "folder", value="elsewhere") == mine
    other = changed("mirrored", "predict", "mirror", value=False)
    assert other["weights"] == mine["weights"]
    assert other["config"] != mine["config"]


def test_how_whole_scans_are_cut_may_change_and_counts_as_another_segmenter(segmenter, tmp_path):
    folder = _copy(segmenter, tmp_path / "run")
    before = network.load(folder, "segmentation")
    config = segmenter.config.copy_and_resolve_references()
    config.predict.overlap = 0.25
    workdir.claim(folder, config)
    after = network.load(folder, "segmentation")
    assert before.fingerprints["config"] != after.fingerprints["config"]
    made = make_segmenter(after)
    assert made.windows.overlap == 0.25
    assert made.instances.min_volume_mm3 == 200.0
    old = json.loads((folder / "config.json").read_text())
    for name in ("overlap", "connectivity", "min_volume_mm3"):
        del old["predict"][name]
    (folder / "config.json").write_text(json.dumps(old))
    before_there_were = network.load(folder, "segmentation")
    made = make_segmenter(before_there_were)
    assert (made.windows.overlap, made.instances.connectivity) == (0.5, 26)
    workdir.claim(folder, segmenter.config)  # and a run of that time goes on


def test_segmenters_of_folds_find_by_the_mean_of_their_logits(segmenter):
    trained = network.load(segmenter.workdir, "segmentation")
    (member,) = trained.members
    zeros = jax.tree.map(np.zeros_like, member.params)
    second = dataclasses.replace(member, params=zeros)  # its logits are 0
    both = dataclasses.replace(trained, members=(member, second))
    hu = jnp.full((1, 16, 16, 16), -380.0)
    first, mean = (np.asarray(make_segmenter(net).predict(hu)) for net in (trained, both))
    np.testing.assert_allclose(_logit(mean), _logit(first) / 2, atol=1e-4)
    config = member.config.copy_and_resolve_references()
    config.preprocess.window = (-900.0, 300.0)  # each member windows for itself
    narrow = dataclasses.replace(member, config=config.copy_and_resolve_references())
    make_segmenter(dataclasses.replace(trained, members=(member, narrow)))
    config.preprocess.spacing_mm = 1.0
    other = dataclasses.replace(
        trained, members=(member, dataclasses.replace(member, config=config))
    )
    with pytest.raises(UsageError, match="cannot be used together"):
        make_segmenter(other)


def _logit(probability):
    return np.log(probability / (1 - probability))

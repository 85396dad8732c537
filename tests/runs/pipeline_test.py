"""Both networks on one split: nobody judged was seen, and each region is what it is called."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from configs import pipeline as pipeline_config
from dtc_jax import runs
from dtc_jax.cohort import splits
from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import volume
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import make_classifier
from dtc_jax.inference.segment import Segmenter
from dtc_jax.inference.sliding_window import SlidingWindow
from dtc_jax.runs import networks, regions
from dtc_jax.runs.pipeline import isolated

SHAPE, SPACING_MM = (32, 50, 64), np.array([5.0, 3.6, 3.6])
AFFINE = np.zeros((4, 4))
AFFINE[[2, 1, 0, 3], [0, 1, 2, 3]] = (*SPACING_MM, 1.0)  # (z, y, x) to RAS
PATIENTS, EXTERNAL, UNLABELLED = 14, 2, 1


def _ball(center, radii_mm) -> np.ndarray:
    away_mm = (np.moveaxis(np.indices(SHAPE), 0, -1) - center) * SPACING_MM
    return ((away_mm / radii_mm) ** 2).sum(axis=-1) < 1


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A chest a patient, two nodules in each; those of odd patients are larger, and refractory."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = []
    _, y, x = np.indices(SHAPE)
    for i in range(PATIENTS + EXTERNAL + UNLABELLED):
        hu = np.where(((y - 25) / 23) ** 2 + ((x - 32) / 30) ** 2 < 1, 40, -1000).astype(np.int16)
        for center in ((16, 25, 18), (16, 25, 46)):
            hu[_ball(center, (70.0, 65.0, 40.0))] = -860
        labels = np.zeros(SHAPE, np.uint8)
        for number, center in ((1, (14 + i % 4, 28, 18)), (2, (18, 20, 46))):
            labels[_ball(center, 10.0 + 5 * (i % 2) + number)] = number
            label = "" if i >= PATIENTS + EXTERNAL else i % 2
            kind = "external" if PATIENTS <= i < PATIENTS + EXTERNAL else "primary"
            ids = (f"p{i:02d}", f"p{i:02d}-{number}", f"{i}.nii", f"{i}-mask.nii", number)
            rows.append((*ids, label, kind))
        hu[labels > 0] = 30
        volume.write(folder / f"{i}.nii", Volume(hu, AFFINE))
        volume.write(folder / f"{i}-mask.nii", Volume(labels, AFFINE))
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label", "label", "cohort"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "lesions.csv", index=False)
    return folder / "lesions.csv"


@pytest.fixture(scope="module")
def config(cohort):
    config = pipeline_config.get_config("demo").unlock()
    config.data.update(source="manifest", manifest=str(cohort), folder=str(cohort.parent / "data"))
    config.segmenter.data.size_mm = (40, 40, 40)
    config.segmenter.model.update(widths=(4, 8), convolutions=(1, 1))
    config.segmenter.preprocess.update(crop_mm=(32, 32, 32), spacing_mm=4.0)
    # An untrained network finds something almost everywhere, which takes long to classify.
    config.segmenter.predict.update(crop_mm=(96, 96, 96), batch_size=8, threshold=0.95)
    config.segmenter.train.update(epochs=2, batch_size=8, evaluate_every_epochs=1)
    config.classifier.model.update(width=4, stages=1)
    config.classifier.preprocess.update(crop_mm=(32, 32, 32), spacing_mm=2.0)
    config.classifier.train.update(epochs=2, batch_size=8, evaluate_every_epochs=1)
    config.classifier.predict.batch_size = 8
    config.classifier.write_report = False
    return config


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    runs.pipeline(config, folder)
    return folder


def test_both_trainings_follow_one_split_and_nobody_judged_was_seen(run):
    shared = pd.read_csv(run / "split.csv")
    assert len(shared) == PATIENTS + UNLABELLED
    assert (shared[shared.patient_id == "p16"].split == "train").all()  # it has no label
    judged = set(pd.read_csv(run / "regions.csv").patient_id)
    tested = set(shared.patient_id[shared.split == "test"])
    assert judged == tested | {"p14", "p15"}
    sides = shared.set_index("patient_id").split
    for table in ("segmenter/cases.csv", "classifier/predictions.csv"):
        stored = pd.read_csv(run / table)
        assert not judged & set(stored.patient_id[stored.split != "test"])
        own = stored[stored.cohort == "primary"]
        assert (own.split == own.patient_id.map(sides)).all()


def test_the_figures_hold_the_fingerprints_of_the_splits(run):
    figures = json.loads((run / "pipeline.json").read_text())
    for name in ("segmenter", "classifier"):
        assert figures["split"][name] == json.loads((run / name / "data.json").read_text())["split"]
    shared = pd.read_csv(run / "split.csv")
    rows = shared.assign(lesion_id=shared.patient_id, fold=0)
    assert figures["split"]["patients"] == splits.fingerprint(rows)
    assert {*figures["cohorts"]} == {"primary", "external"}
    assert figures["cohorts"]["external"]["budget"]["regions"]["manual"]["lesions"] == 4


def test_manual_scores_are_those_of_the_classifiers_own_test(run):
    table = pd.read_csv(run / "regions.csv").set_index("lesion_id")
    own = pd.read_csv(run / "classifier/predictions.csv").set_index("lesion_id")
    own = own[own.split == "test"]
    assert set(own.index) == set(table.index)
    np.testing.assert_allclose(table.manual, own.score.reindex(table.index), atol=1e-5)
    np.testing.assert_allclose(table.threshold, own.threshold.reindex(table.index))


def test_the_same_command_keeps_what_is_done(run, config, capsys):
    before = (run / "pipeline.json").read_bytes()
    (kept,) = run.glob("regions/*/scan-000/lesions.csv")
    written = kept.stat().st_mtime_ns
    for name in ("regions.csv", "pipeline.json"):
        (run / name).unlink()
    shutil.rmtree(kept.parents[1] / "scan-001")
    runs.pipeline(config, run)
    assert (run / "pipeline.json").read_bytes() == before
    assert kept.stat().st_mtime_ns == written
    assert "whom neither network has seen" in capsys.readouterr().out


def test_a_patient_of_the_test_in_training_is_noticed(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    cases = pd.read_csv(tmp_path / "run/segmenter/cases.csv")
    judged = set(cases.patient_id[cases.split == "test"])
    cases.loc[cases.patient_id == min(judged), "split"] = "train"
    cases.to_csv(tmp_path / "run/segmenter/cases.csv", index=False)
    with pytest.raises(InputError, match=f"segmenter: trained or chosen on 1 .* {min(judged)}"):
        isolated(tmp_path / "run", judged)


@pytest.mark.parametrize("change", [{"folds": 3}, {"unit": "lesion"}])
def test_a_split_that_does_not_keep_patients_apart_once_is_refused(change, config, tmp_path):
    other = config.copy_and_resolve_references()
    other.split.update(change)
    with pytest.raises(UsageError, match="unit must be 'patient'"):
        runs.pipeline(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_configuration_of_one_network_is_refused(config, tmp_path):
    with pytest.raises(UsageError, match=r"configs/pipeline\.py"):
        runs.pipeline(config.classifier, tmp_path / "run")


def test_a_manifest_in_another_order_takes_no_scan_for_another_ones(run, config, cohort):
    before, text = pd.read_csv(run / "regions.csv").set_index("lesion_id"), cohort.read_text()
    (folder,) = run.glob("regions/*/scan-001")
    shutil.rmtree(folder)
    try:
        pd.read_csv(cohort).iloc[::-1].to_csv(cohort, index=False)
        runs.pipeline(config, run)
    finally:
        cohort.write_text(text)
    after = pd.read_csv(run / "regions.csv").set_index("lesion_id")
    pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_regions_are_those_of_reader_and_segmenter(run, cohort):
    (network,) = networks.load(run / "classifier", "classification")
    classifier = make_classifier([(network.config, network.result)], 0.5)
    bright = Segmenter(
        jax.jit(lambda hu: (hu > -300.0).astype(np.float32)),
        2.0,
        SlidingWindow((32, 32, 32)),
        Instances(),
    )
    rows = read_manifest(cohort).head(2)
    still = regions.of_scan(bright, classifier, rows, Perturbation(0.0, 0.0), 0)["lesions"]
    assert still.lesion_id.tolist() == ["p00-1", "p00-2"]
    assert still.is_found.all()
    np.testing.assert_allclose(still.perturbed, still.manual, rtol=1e-6)
    assert (still.dice_perturbed == 1).all()
    assert (still.dice_automatic > 0.6).all()
    assert still.automatic.notna().all()
    moved = regions.of_scan(bright, classifier, rows, Perturbation(8.0, 3.0), 0)["lesions"]
    assert (moved.dice_perturbed < 0.9).all()
    assert (moved.perturbed != moved.manual).all()
    blind = Segmenter(jax.jit(lambda hu: 0.0 * hu), 2.0, bright.windows, bright.instances)
    missed = regions.of_scan(blind, classifier, rows, Perturbation(), 0)
    assert missed["lesions"].automatic.isna().all()
    assert missed["lesions"].manual.notna().all()
    assert missed["candidates"].empty


def test_networks_trained_again_on_other_masks_are_judged_again(run, config, cohort, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    before = pd.read_csv(run / "regions.csv").set_index("lesion_id")
    lesion = before.index[0]
    (row,) = read_manifest(cohort).query("lesion_id == @lesion").itertuples()
    text = pathlib.Path(row.mask).read_bytes()
    labels = volume.read_image(row.mask)
    grown = ndimage.binary_dilation(labels.array == row.mask_label)
    array = np.where(grown, row.mask_label, labels.array).astype(np.uint8)
    volume.write(row.mask, Volume(array, labels.affine))
    try:
        for name in ("segmenter", "classifier"):  # what the errors about other data advise
            shutil.rmtree(tmp_path / "run" / name)
        runs.pipeline(config, tmp_path / "run")
    finally:
        pathlib.Path(row.mask).write_bytes(text)
    after = pd.read_csv(tmp_path / "run" / "regions.csv").set_index("lesion_id")
    assert after.volume_mm3[lesion] > before.volume_mm3[lesion]


@pytest.mark.parametrize("mode", [runs.train, runs.leakage])
def test_other_modes_refuse_the_configuration_of_both(mode, config, tmp_path):
    with pytest.raises(UsageError, match=r"config\.task is 'pipeline'"):
        mode(config, tmp_path / "run")


def test_evaluate_refuses_the_folder_of_both(run):
    with pytest.raises(UsageError, match=r"config\.task is 'pipeline'"):
        runs.evaluate(run)

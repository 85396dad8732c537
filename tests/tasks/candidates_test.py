"""A second look at candidates: what it learns from, its folds, its threshold, what it changes."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from configs import candidates as config_file
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import instances, volume
from dtc_jax.inference import second_look
from dtc_jax.inference.segment import Segmentation
from dtc_jax.prediction import predictors
from dtc_jax.runs import evaluate, train
from dtc_jax.statistics import detection
from dtc_jax.tasks import candidate_data, candidate_figures
from tests import trained_runs


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Eight chests with two nodules each; half of them, in turn, are not said to be lesions."""
    folder = tmp_path_factory.mktemp("scans")
    rows = []
    for i in range(8):
        image, numbers = trained_runs.chest(i)
        volume.write(folder / f"{i}.nii.gz", image)
        volume.write(folder / f"{i}-mask.nii.gz", numbers)
        rows.append((f"p{i}", f"p{i}-1", f"{i}.nii.gz", f"{i}-mask.nii.gz", 1 + i % 2))
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "scans.csv", index=False)
    return folder / "scans.csv"


@pytest.fixture(scope="module")
def found(segmenter, scans, tmp_path_factory):
    """A segmenter's run whose scans were evaluated; its patients are others."""
    folder = tmp_path_factory.mktemp("found") / "run"
    shutil.copytree(segmenter.workdir, folder)
    columns = {"patient_id": ["x", "y"], "lesion_id": ["x", "y"], "fold": 0}
    pd.DataFrame({**columns, "split": ["train", "test"]}).to_csv(folder / "cases.csv", index=False)
    evaluate.run(folder, scans)
    return folder


@pytest.fixture
def config(found, scans, tmp_path_factory):
    config = config_file.get_config().unlock()
    config.data.update(segmenter=str(found), manifest=str(scans), size_mm=(24, 24, 24))
    config.data.folder = str(scans.parent / "data")
    config.preprocess.crop_mm = (16, 16, 16)
    config.augment.shift_mm = 0.0
    config.model.update(width=4, stages=1)
    config.train.update(epochs=2, batch_size=8, evaluate_every_epochs=1)
    config.predict.batch_size = 8
    config.threshold = "false_positives:0.5"
    return config


@pytest.mark.extras
def test_the_findings_of_evaluated_scans_are_its_examples(config, found):
    data = candidate_data.load(config)
    table = pd.read_csv(found / "scans" / "candidates.csv")
    assert len(data.table) == len(table) >= 16
    assert data.table.label.sum() == (~table.is_false).sum() == 8
    one = data.table.iloc[0]
    stored = data.records[one.position]
    assert stored["mask"].any()
    np.testing.assert_allclose(one.segmenter_score, table.max_probability[0], rtol=1e-6)


@pytest.mark.extras
@pytest.mark.parametrize("temperature", ["none", "validation"])
def test_a_run_keeps_or_folds_away_what_was_found(
    config, found, scans, tmp_path, capsys, temperature
):
    config.temperature = temperature
    run = tmp_path / "run"
    train.run(config, run)
    figures = json.loads((run / "metrics.json").read_text())
    fitted = [entry["value"] != 1 for entry in figures.get("temperature", [])]
    assert fitted == ([] if temperature == "none" else [True])
    test = figures["network"]["primary"]["test"]
    table = pd.read_csv(run / "predictions.csv")
    tested = table[table.split == "test"]
    assert set(table.groupby("patient_id").split.nunique()) == {1}
    false = tested[tested.label == 0]
    assert test["false_candidates_per_scan"] == len(false) / tested.patient_id.nunique()
    assert test["false_positives_per_scan"] == false.decision.sum() / tested.patient_id.nunique()
    assert "false ones a whole scan" in capsys.readouterr().out
    again = tmp_path / "found"
    shutil.copytree(found, again)
    looked = evaluate.run(again, scans, run)
    kept = pd.read_csv(again / "scans-candidates" / "candidates.csv")
    assert looked["patients_left_out"] == table[table.split != "test"].patient_id.nunique()
    tested = tested.assign(lesion_id=tested.lesion_id.str.split("-").str[-1].astype(int))
    merged = kept.merge(tested, on=["patient_id", "lesion_id"], suffixes=("", "_trained"))
    assert len(merged) == len(kept) == len(tested)
    np.testing.assert_allclose(merged.score, merged.score_trained, rtol=1e-4)
    data, scan = candidate_data.load(config).table, tested.scan_id.iloc[0]
    image = volume.read_image(data.image[data.scan_id == scan].iloc[0])
    mask = volume.read_image(found / "scans" / "masks" / f"{scan}.nii.gz")
    look, described = predictors.load_classifier(run, "candidates")
    what = Segmentation(instances.measure(image, mask), mask, mask)
    segmenter, _ = predictors.load_segmenter(found)
    seen = second_look.look_again(segmenter, look, image, what)
    np.testing.assert_allclose(
        seen.lesion_probability, tested[tested.scan_id == scan].score, rtol=1e-4
    )
    assert (seen.is_lesion == (seen.lesion_probability >= described["threshold"])).all()
    above = kept[kept.is_false & (kept.score >= kept.threshold)]
    per_scan = looked["at_threshold"]["false_positives_per_scan"]["value"]
    assert per_scan == pytest.approx(len(above) / tested.patient_id.nunique())


def test_folds_are_those_of_the_segmenters_run(config, found, tmp_path):
    again = tmp_path / "found"
    shutil.copytree(found, again)
    names = [f"p{i}" for i in range(8)]
    sides = {
        0: ["test"] * 4 + ["validation"] + ["train"] * 3,
        1: ["train"] * 3 + ["validation"] + ["test"] * 4,
    }
    cases = pd.concat(
        pd.DataFrame({"patient_id": names, "lesion_id": names, "fold": fold, "split": split})
        for fold, split in sides.items()
    )
    cases.to_csv(again / "cases.csv", index=False)
    config.data.segmenter = str(again)
    data = candidate_data.load(config)
    with pytest.raises(UsageError, match=r"folds is 0, but .* has 2"):
        candidate_data.split(config, data.table)
    config.split.folds = 2
    rows = candidate_data.split(config, data.table)
    given = rows.merge(cases, on=["patient_id", "fold"], suffixes=("", "_given"))
    assert (given.split == given.split_given).all()
    assert len(rows) == 2 * len(data.table)


def test_other_scans_than_those_evaluated_are_refused(config, found, chests, tmp_path):
    volume.write(tmp_path / "a.nii.gz", trained_runs.chest(9)[0])
    volume.write(tmp_path / "m.nii.gz", trained_runs.chest(9)[1])
    row = {"patient_id": "p", "lesion_id": "l", "image": "a.nii.gz", "mask": "m.nii.gz"}
    pd.DataFrame([row]).to_csv(tmp_path / "other.csv", index=False)
    config.data.manifest = str(tmp_path / "other.csv")
    with pytest.raises(InputError, match="has no image with the contents of scan-000"):
        candidate_data.load(config)
    config.data.segmenter = str(tmp_path)
    with pytest.raises(InputError, match=r"candidates.csv is missing; run --mode=evaluate"):
        candidate_data.load(config)


@pytest.mark.parametrize("rule", ["youden", "false_positives", "false_positives:0"])
def test_a_threshold_is_so_many_false_positives_a_scan(rule):
    assert candidate_figures.parse("false_positives:0.5") == 0.5
    with pytest.raises(UsageError, match="give 'false_positives:N'"):
        candidate_figures.parse(rule)


def test_a_threshold_lets_through_no_more_than_is_allowed():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    false = scores[[1, 3, 5]]
    for allowed, expected in ((0, 0.85), (1, 0.65), (2, 0.45), (3, 0.0)):
        threshold = detection.threshold_for(false, scores, allowed)
        assert threshold == pytest.approx(expected)
        assert (false >= threshold).sum() <= allowed
    assert detection.threshold_for(scores[:1], scores, 0) > 0.9

"""The whole study: the schema it promises, what it fits on what, and what it says aloud."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dtc_jax.errors import InputError, UsageError
from dtc_jax.statistics import bootstrap, roc, study
from dtc_jax.statistics.study import Settings

FAST = Settings(resamples=200)


def _cohort(name: str, patients: int, seed: int, each: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), each)
    n = len(patient)
    labels = (rng.normal(size=patients)[patient] + 0.5 * rng.normal(size=n) > 0).astype(int)
    shared = rng.normal(size=patients)[patient]
    return pd.DataFrame(
        {
            "cohort": name,
            "patient_id": [f"{name[0]}{i}" for i in patient],
            "lesion_id": [f"{i % each}" for i in range(n)],
            "label": labels,
            "score": 1 / (1 + np.exp(-(1.4 * labels - 0.7 + shared + rng.normal(size=n)))),
            "diameter_mm": rng.uniform(3, 12, n),
            "age": (30.0 + np.arange(patients))[patient],
            "sex": np.array(["F", "M"])[patient % 2],
            "center": np.array(["a", "b", "c"])[patient % 3],
        }
    )


def _predictions() -> pd.DataFrame:
    """Two runs on a primary and an external cohort; the second run sees little."""
    primary = _cohort("primary", 90, 0)
    fold = np.arange(90).repeat(4) % 3
    primary["split"] = np.array(["train", "validation", "test"])[fold]
    first = pd.concat([primary, _cohort("external", 24, 1).assign(split="test")])
    noise = np.random.default_rng(2).random(len(first))
    second = first.assign(score=0.3 * first.score + 0.7 * noise)
    return pd.concat([first.assign(run="senet"), second.assign(run="other")], ignore_index=True)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return _predictions()


@pytest.fixture(scope="module")
def found(predictions) -> dict:
    return study.study(predictions, FAST)


def test_it_is_plain_json(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["runs"]) == ["senet", "other"]
    assert list(found["runs"]["senet"]) == ["primary", "external"]
    assert list(found["runs"]["senet"]["primary"]) == ["train", "validation", "test"]
    assert found["settings"]["resamples"] == 200


def test_every_key_is_in_the_docstring(found):
    words = set(re.findall(r"\w+", study.__doc__ or ""))

    def check(value):
        if isinstance(value, list):
            for one in value[:3]:
                check(one)
        elif isinstance(value, dict):
            assert set(value) <= words
            for key, one in value.items():
                if key != "auc_by_fold":
                    check(one)

    for cohort in found["runs"]["senet"].values():
        for section in cohort.values():
            check(section)
    check(found["comparisons"])


def test_the_headline_is_clustered_and_the_naive_figure_narrower(predictions, found):
    rows = predictions.query("run == 'senet' and cohort == 'external'")
    section = found["runs"]["senet"]["external"]["test"]
    labels, scores = rows.label.to_numpy(), rows.score.to_numpy()
    patients = rows.patient_id.to_numpy()
    assert section["auc"] == roc.auc_interval(labels, scores, patients).as_dict()
    assert section["auc_naive"] == roc.auc_interval(labels, scores).as_dict()
    naive, headline = section["auc_naive"], section["auc"]
    assert headline["low"] < naive["low"] < naive["high"] < headline["high"]
    assert section["design_effect"] > 1.3
    assert section["icc"]["positives"] > 0.2
    assert section["rates"]["accuracy"]["low"] < section["rates_naive"]["accuracy"]["low"]
    assert section["rates_naive"]["accuracy"]["patients"] is None
    assert (section["lesions"], section["patients"]) == (96, 24)


def test_recalibration_and_conformal_see_validation_labels_alone(predictions, found):
    test = found["runs"]["senet"]["external"]["test"]
    one_run = predictions[predictions.run == "senet"]
    for split, changed in (("train", False), ("validation", True)):
        other = one_run.copy()
        rows = other.split == split
        other.loc[rows, "label"] = 1 - other.loc[rows, "label"]
        again = study.study(other, FAST)["runs"]["senet"]["external"]["test"]
        assert (
            again["calibration"]["recalibrated"] != test["calibration"]["recalibrated"]
        ) is changed
        assert (again["abstention"]["conformal"] != test["abstention"]["conformal"]) is changed
        assert again["calibration"]["brier"] == test["calibration"]["brier"]


def test_validation_itself_is_not_recalibrated_and_without_it_nothing_is(predictions, found):
    section = found["runs"]["senet"]["primary"]["validation"]
    assert section["calibration"]["recalibrated"] is None
    assert section["abstention"]["conformal"] == []
    alone = study.study(predictions.query("split == 'test' and run == 'senet'"), FAST)
    section = alone["runs"]["senet"]["primary"]["test"]
    assert section["calibration"]["recalibrated"] is None
    assert section["abstention"]["conformal"] == []


def test_runs_are_compared_on_the_same_lesions_and_cohorts_within_a_run(found):
    paired = [one for one in found["comparisons"] if one["kind"] == "paired"]
    unpaired = [one for one in found["comparisons"] if one["kind"] == "unpaired"]
    assert [(one["first"]["cohort"], one["split"]) for one in paired] == [
        ("primary", "validation"),
        ("primary", "test"),
        ("external", "test"),
    ]
    assert [(one["first"]["run"], one["second"]["cohort"]) for one in unpaired] == [
        ("senet", "external"),
        ("other", "external"),
    ]
    sections = {run: found["runs"][run]["primary"]["test"]["auc"] for run in ("senet", "other")}
    assert paired[1]["auc_first"] == sections["senet"]["value"]
    assert paired[1]["auc_second"] == sections["other"]["value"]
    assert paired[1]["difference"]["value"] > 0
    assert all(one["p_holm"] >= one["p"] for one in found["comparisons"])


def test_optimistic_bias_is_stated(predictions, found):
    assert not [note for note in found["notes"] if "biased" in note]
    mixed = predictions.query("run == 'senet' and cohort == 'primary'").copy()
    mixed["split"] = np.where(np.arange(len(mixed)) % 2, "train", "test")
    notes = study.study(mixed, FAST)["notes"]
    assert "senet, primary, test: 90 of 90 patients are also in the training split, so every" in (
        " ".join(notes)
    )
    assert any("threshold 0.5 by default" in note for note in notes)


def test_folds_that_share_lesions_count_each_lesion_once_in_the_naive_figures():
    table = _cohort("external", 24, 1)
    other = table.score.to_numpy() * 0.9
    folds = pd.concat([table.assign(fold=0), table.assign(fold=1, score=other)])
    section = study.study(folds, FAST)["runs"]["model"]["external"]["test"]
    assert (section["predictions"], section["lesions"]) == (192, 96)
    assert section["auc"]["patients"] == 24
    single = study.study(table, FAST)["runs"]["model"]["external"]["test"]
    naive, alone = (s["auc_naive"]["high"] - s["auc_naive"]["low"] for s in (section, single))
    assert naive == pytest.approx(alone, rel=0.1)
    assert section["design_effect"] == pytest.approx(single["design_effect"], rel=0.15)
    assert section["patient_level"]["patients"] == 24


def test_one_class_and_no_usable_row_are_stated():
    table = _cohort("external", 24, 1)
    one = study.study(table.assign(label=1), FAST)
    section = one["runs"]["model"]["external"]["test"]
    assert section["auc"]["value"] is None
    assert section["roc"] is section["patient_level"] is None
    assert any("the same label" in note for note in one["notes"])
    none = study.study(table.assign(label=np.nan), FAST)
    assert none["runs"]["model"]["external"]["test"]["lesions"] == 0
    assert any("96 rows without a label" in note for note in none["notes"])
    json.dumps([one, none], allow_nan=False)


def test_a_table_too_large_to_resample_has_its_values_without_bands(monkeypatch):
    monkeypatch.setattr(bootstrap, "_MAX_LESIONS", 50)
    section = study.study(_cohort("external", 24, 1), FAST)["runs"]["model"]["external"]["test"]
    assert section["auc_bootstrap"]["value"] == section["auc"]["value"]
    assert section["auc_bootstrap"]["interval"] == "none: too many lesions to resample"
    assert section["decision_curve"]["model"]["low"] == [None] * 99
    assert None not in section["decision_curve"]["model"]["value"]
    assert section["auc"]["low"] is not None
    assert section["roc"]["band"]["low"] == [None] * 101


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patient_truth": "most"}, "patient_truth"),
        ({"diameter_rounding": "up"}, "diameter_rounding"),
        ({"margin": 0}, "margin"),
        ({"resamples": 10}, "resamples"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Settings(**settings)


def _two_runs(theirs):
    ours = pd.DataFrame(
        {
            "patient_id": [f"{i:03}" for i in range(1, 9)],
            "lesion_id": ["1"] * 8,
            "label": [0, 1] * 4,
            "score": np.linspace(0, 1, 8),
            "run": "ours",
        }
    )
    return pd.concat([ours, ours.assign(run="theirs", patient_id=theirs)], ignore_index=True)


def test_runs_without_a_common_lesion_are_said_or_refused():
    stripped = [str(i) for i in range(1, 9)]
    with pytest.raises(InputError, match=r"'001' / '1' in one looks like '1' / '1' in the other"):
        study.study(_two_runs(stripped), FAST)
    found = study.study(_two_runs([f"X{i}" for i in range(8)]), FAST)
    assert any("no lesion in common, so they are not compared" in note for note in found["notes"])
    half = [f"{i:03}" for i in range(5, 13)]
    table = _two_runs(half)
    found = study.study(table.assign(label=table.patient_id.astype(int) % 2), FAST)
    assert any("compared on the 4 lesions that both have; 4 and 4" in n for n in found["notes"])


def test_runs_are_compared_on_all_their_lesions_however_they_are_divided_into_folds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    ours = pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(60)],
            "lesion_id": "1",
            "label": labels,
            "score": rng.random(60),
            "fold": np.arange(60) % 5,
            "run": "ours",
        }
    )
    theirs = ours.assign(run="theirs", score=rng.random(60), fold=0)
    found = study.study(pd.concat([ours, theirs], ignore_index=True), FAST)
    (compared,) = found["comparisons"]
    assert compared["lesions"] == 60
    assert compared["auc_second"] == pytest.approx(metrics.roc_auc_score(labels, theirs.score))
    assert not any("compared" in note for note in found["notes"])
    every = [ours.assign(fold=fold, score=rng.random(60)) for fold in range(3)]
    found = study.study(pd.concat([*every, theirs], ignore_index=True), FAST)
    assert any("compared on the 60 predictions of folds that" in note for note in found["notes"])

"""The figures of a predictions table: JSON without NaN, every row accounted for."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dtc_jax.errors import InputError
from dtc_jax.statistics import tables, threshold


def _predictions(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n).astype(float)
    table = pd.DataFrame(
        {
            "run": "senet",
            "cohort": np.where(np.arange(n) < 100, "primary", "external"),
            "split": np.where(np.arange(n) < 60, "train", "test"),
            "fold": 0,
            "patient_id": [f"P{i // 3}" for i in range(n)],
            "lesion_id": [f"L{i}" for i in range(n)],
            "center": "a",
            "label": labels,
            "score": 1 / (1 + np.exp(-rng.normal(labels))),
        }
    )
    table.loc[40:59, "split"] = "validation"
    return threshold.apply(table, "youden")


def test_figures_of_each_cohort_and_split_agree_with_scikit_learn():
    table = _predictions()
    found = tables.metrics(table)
    assert {cohort: list(splits) for cohort, splits in found.items()} == {
        "primary": ["train", "validation", "test"],
        "external": ["test"],
    }
    test = table[(table.cohort == "primary") & (table.split == "test")]
    figures = found["primary"]["test"]
    assert figures["lesions"] == figures["accuracy"]["n"] == 40
    assert figures["patients"] == figures["auc"]["patients"] == test.patient_id.nunique()
    assert figures["auc"]["value"] == pytest.approx(metrics.roc_auc_score(test.label, test.score))
    for name, function, positive in (
        ("sensitivity", metrics.recall_score, 1),
        ("specificity", metrics.recall_score, 0),
        ("ppv", metrics.precision_score, 1),
        ("npv", metrics.precision_score, 0),
    ):
        expected = function(test.label, test.decision, pos_label=positive)
        assert figures[name]["value"] == pytest.approx(expected), name
    assert sum(figures["confusion"].values()) == 40
    assert figures["threshold"]["values"] == [test.threshold.iloc[0]]
    assert figures["threshold"]["source"] == "youden on the validation split"


def test_unlabelled_and_unscored_rows_are_counted_and_skipped():
    table = _predictions()
    table.loc[100:104, "label"] = np.nan
    table.loc[105:106, ["score", "decision"]] = np.nan
    figures = tables.metrics(table)["external"]["test"]
    assert (figures["lesions"], figures["without_label"], figures["without_score"]) == (13, 5, 2)
    assert figures["auc"]["n"] == 13


def test_a_split_of_one_class_or_of_no_label_is_json_without_nan():
    table = _predictions()
    table.loc[table.cohort == "external", "label"] = 1
    table.loc[table.split == "validation", "label"] = np.nan
    found = tables.metrics(table)
    text = json.dumps(found, allow_nan=False)
    assert "NaN" not in text
    assert found["external"]["test"]["auc"]["value"] is None
    assert found["external"]["test"]["sensitivity"]["value"] is not None
    assert found["primary"]["validation"]["lesions"] == 0


def test_folds_are_pooled_and_shown_apart():
    table = _predictions().query("split == 'test' and cohort == 'primary'")
    table = table.assign(fold=np.arange(len(table)) % 2)
    figures = tables.metrics(table)["primary"]["test"]
    assert figures["auc"]["value"] == pytest.approx(metrics.roc_auc_score(table.label, table.score))
    for fold, rows in table.groupby("fold"):
        expected = metrics.roc_auc_score(rows.label, rows.score)
        assert figures["auc_by_fold"][str(fold)] == pytest.approx(expected)


def test_a_lesion_seen_in_several_folds_is_one_lesion():
    table = _predictions().query("split == 'train'")
    once = tables.metrics(table)["primary"]["train"]
    found = tables.metrics(pd.concat([table, table.assign(fold=1)]))["primary"]["train"]
    assert (found["lesions"], found["predictions"]) == (40, 80)
    assert found["positive_lesions"] == once["positives"] == found["positives"] / 2
    assert found["positive_lesions"] + found["negative_lesions"] == 40
    assert found["auc"]["low"] == pytest.approx(once["auc"]["low"])
    assert found["accuracy"]["low"] == pytest.approx(once["accuracy"]["low"], rel=0.01)


def test_a_table_read_back_from_csv_gives_the_same_figures(tmp_path):
    table = _predictions()
    table.to_csv(tmp_path / "predictions.csv", index=False)
    assert tables.metrics(pd.read_csv(tmp_path / "predictions.csv")) == tables.metrics(table)


def test_bad_tables_are_refused():
    table = _predictions()
    with pytest.raises(InputError, match="no column score"):
        tables.metrics(table.drop(columns="score"))
    with pytest.raises(InputError, match="several runs"):
        tables.metrics(table.assign(run=table.lesion_id))
    with pytest.raises(InputError, match="lesion L0: label"):
        tables.metrics(table.assign(label=2))

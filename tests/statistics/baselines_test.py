"""Baselines: each sees what it should, is fitted on training rows alone, and can win."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dtc_jax.errors import InputError
from dtc_jax.statistics import baselines


def _cohort(n: int = 150) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Labels told by diameter a little, by one feature well, by age and sex not at all."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n).astype(float)
    table = pd.DataFrame(
        {
            "run": "senet",
            "cohort": "primary",
            "split": rng.choice(["train", "validation", "test"], n, p=[0.5, 0.2, 0.3]),
            "fold": 0,
            "patient_id": [f"P{i // 2}" for i in range(n)],
            "lesion_id": [f"L{i}" for i in range(n)],
            "label": labels,
            "score": 0.5,
        }
    )
    diameter = np.exp(rng.normal(2 + 0.4 * labels, 0.5))
    features = np.column_stack([np.abs(rng.normal(3 * labels)), *rng.normal(size=(3, n))])
    matrices = baselines.inputs(
        diameter_mm=diameter,
        box_mm=rng.normal(diameter[:, None], 1, (n, 3)),
        scan_box_mm=rng.normal(30, 1, (n, 3)),
        features=features,
        age=rng.normal(50, 10, n),
        sex=rng.choice(["F", "male", "f"], n),
    )
    return table, matrices


def test_every_baseline_is_predicted_and_informed_ones_beat_chance():
    table, matrices = _cohort()
    found = baselines.predict(table, matrices, "youden")
    expected = {"majority", "diameter", "box_extent", "features", "age_sex_diameter"}
    assert set(found.run) == expected
    assert len(found) == 5 * len(table)
    aucs = {
        run: metrics.roc_auc_score(rows.label, rows.score)
        for run, rows in found[found.split == "test"].groupby("run")
    }
    assert aucs["majority"] == 0.5
    assert min(aucs[name] for name in expected - {"majority"}) > 0.6
    assert aucs["features"] > 0.8
    assert set(found[found.run == "majority"].threshold) == {0.5}
    assert found[found.run == "diameter"].threshold_source.str.contains("validation").all()


def test_labels_outside_the_training_split_change_no_score():
    table, matrices = _cohort()
    other = table.assign(label=table.label.where(table.split == "train", 1 - table.label))
    first, second = (baselines.predict(rows, matrices, "youden") for rows in (table, other))
    np.testing.assert_array_equal(first.score, second.score)


def test_folds_are_fitted_apart():
    table, matrices = _cohort()
    shuffled = table.assign(fold=1, label=np.random.default_rng(1).permutation(table.label))
    both = pd.concat([table, shuffled], ignore_index=True)
    doubled = {name: np.concatenate([matrix, matrix]) for name, matrix in matrices.items()}
    alone = baselines.predict(table, matrices, "youden")
    found = baselines.predict(both, doubled, "youden")
    np.testing.assert_array_equal(found[found.fold == 0].score, alone.score)


def test_rows_with_unknown_inputs_or_labels_are_left_out():
    table, matrices = _cohort()
    table.loc[:9, "label"] = np.nan
    matrices["age_sex_diameter"][20:30, 0] = np.nan
    found = baselines.predict(table, matrices, "youden")
    by_age = found[found.run == "age_sex_diameter"].reset_index()
    assert by_age.score[20:30].isna().all()
    assert by_age.decision[20:30].isna().all()
    assert by_age.score.notna().sum() == len(table) - 10
    matrices["age_sex_diameter"][:, 1] = np.nan
    assert "age_sex_diameter" not in set(baselines.predict(table, matrices, "youden").run)


def test_sex_is_a_number_or_unknown():
    matrix = baselines.inputs(
        diameter_mm=np.ones(5), age=np.ones(5), sex=np.array(["F", "female", "M", "other", np.nan])
    )["age_sex_diameter"]
    np.testing.assert_array_equal(matrix[:, 1], [1, 1, 0, np.nan, np.nan])


def test_only_what_is_given_is_seen():
    assert list(baselines.inputs(diameter_mm=np.ones(3))) == ["majority", "diameter"]


def test_a_fold_without_both_classes_in_training_is_refused():
    table, matrices = _cohort()
    with pytest.raises(InputError, match="the training split of fold 0 lacks a class"):
        baselines.predict(table[table.split == "test"], matrices, "youden")

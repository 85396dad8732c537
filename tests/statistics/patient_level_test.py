"""From lesions to patients: each rule on a case that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dtc_jax.errors import UsageError
from dtc_jax.statistics import patient_level


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "b", "c", "d"],
            "lesion_id": ["1", "2", "1", "2", "1", "1"],
            "label": [1, 1, 0, 1, 0, 0],
            "score": [0.9, 0.7, 0.2, 0.6, 0.4, 0.1],
            "threshold": 0.5,
            "diameter_mm": [10.0, 20.0, 10.0, 10.0, 5.0, np.nan],
        }
    )


def test_scores_and_truth_of_patients():
    found = patient_level.patients(_table())
    assert found.label.tolist() == [1, 1, 0, 0]
    assert found.mixed.tolist() == [False, True, False, False]
    assert found["any"].tolist() == [0.9, 0.6, 0.4, 0.1]
    assert found["all"].tolist() == [0.7, 0.2, 0.4, 0.1]
    assert found["mean"].tolist() == pytest.approx([0.8, 0.4, 0.4, 0.1])
    assert found.volume.tolist() == pytest.approx(
        [(0.9 + 8 * 0.7) / 9, 0.4, 0.4, np.nan], nan_ok=True
    )
    assert patient_level.patients(_table(), "all").label.tolist() == [1, 0, 0, 0]


def test_figures_are_those_of_patients():
    found = patient_level.patient_level(_table(), "any", 200, 0)
    assert {k: found[k] for k in ("mixed", "patients", "positives", "negatives")} == {
        "mixed": 1,
        "patients": 4,
        "positives": 2,
        "negatives": 2,
    }
    assert found["rules"]["any"]["confusion"] == {"tp": 2, "fn": 0, "tn": 2, "fp": 0}
    assert found["rules"]["all"]["confusion"] == {"tp": 1, "fn": 1, "tn": 2, "fp": 0}
    assert found["rules"]["mean"]["auc"]["value"] == metrics.roc_auc_score(
        [1, 1, 0, 0], [0.8, 0.4, 0.4, 0.1]
    )
    assert found["rules"]["mean"]["auc"]["n"] == 4
    assert found["rules"]["volume"]["auc"]["n"] == 3  # d's diameter is not known
    assert len(found["rules"]["any"]["decision_curve"]["model"]["value"]) == 99


def test_a_lesion_scored_by_several_folds_counts_once():
    table = _table()
    again = table.assign(score=table.score - 0.1, threshold=0.3)
    found = patient_level.patients(pd.concat([table, again]))
    assert found["any"].tolist() == pytest.approx([0.85, 0.55, 0.35, 0.05])
    assert found.threshold.tolist() == pytest.approx([0.4] * 4)
    assert found.mixed.tolist() == [False, True, False, False]


def test_without_diameters_there_is_no_volume_rule_and_of_one_class_no_figures():
    found = patient_level.patient_level(_table().drop(columns="diameter_mm"), "any", 200, 0)
    assert list(found["rules"]) == ["any", "all", "mean"]
    assert patient_level.patient_level(_table().assign(label=1), "any", 200, 0) is None


def test_an_unknown_truth_is_refused():
    with pytest.raises(UsageError, match="patient_truth is 'most'"):
        patient_level.patients(_table(), "most")


@pytest.mark.parametrize("lesions", [3, 6, 9, 11])
@pytest.mark.parametrize("score", [0.03, 0.07, 0.57, 0.7])
def test_a_patient_whose_lesions_are_all_at_the_threshold_is_positive(score, lesions):
    table = pd.DataFrame(
        {
            "patient_id": "a",
            "lesion_id": [str(i) for i in range(lesions)],
            "label": 1,
            "score": score,
            "threshold": score,
            "diameter_mm": np.linspace(3, 17, lesions),
        }
    )
    for copies in (1, 3):
        found = patient_level.patients(pd.concat([table] * copies))
        for rule in patient_level.RULES:
            assert found[rule].item() == found.threshold.item() == score

"""Abstention: the risk-coverage curve by hand, and conformal coverage of new patients."""

import numpy as np
import pytest
from scipy import special

from dtc_jax.statistics import abstention


def test_risk_coverage_decides_the_most_certain_first():
    labels = np.array([1, 1, 0, 0])
    scores = np.array([0.99, 0.45, 0.02, 0.6])  # the two near a half are wrong
    found = abstention.risk_coverage(labels, scores, np.full(4, 0.5), np.arange(4), 200, 0)
    curve = found["risk_coverage"]
    at = {round(c, 2): e for c, e in zip(curve["coverage"], curve["error"]["value"], strict=True)}
    assert (at[0.25], at[0.5], at[0.75], at[1.0]) == pytest.approx((0, 0, 1 / 3, 1 / 2))
    assert found["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert curve["sensitivity"][-1] == 0.5
    assert curve["sensitivity"][0] is None or curve["specificity"][0] is None  # one lesion decided


def test_certainty_is_the_distance_from_the_threshold():
    labels, scores = np.array([1, 0]), np.array([0.5, 0.11])
    found = abstention.risk_coverage(labels, scores, np.full(2, 0.1), np.arange(2), 200, 0)
    assert found["risk_coverage"]["error"]["value"][0] == 0  # .5 is far above .1
    assert found["risk_coverage"]["error"]["value"][-1] == 0.5


def test_the_order_of_lesions_that_are_equally_certain_makes_no_difference():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 60), rng.random(60).round(1)
    drawn = []
    for order in (rng.permutation(60) for _ in range(2000)):
        wrong = ((scores >= 0.5) != (labels == 1))[order]
        certain = np.argsort(
            -np.abs(special.logit(scores[order].clip(1e-6, 1 - 1e-6))), kind="stable"
        )
        drawn.append((np.cumsum(wrong[certain]) / np.arange(1, 61)).mean())
    for order in (np.arange(60), np.arange(60)[::-1]):
        found = abstention.risk_coverage(
            labels[order], scores[order], np.full(60, 0.5), order, 200, 0
        )
        assert found["aurc"] == pytest.approx(np.mean(drawn), abs=0.002)
        assert found["risk_coverage"]["error"]["value"][-1] == pytest.approx(
            np.mean((scores >= 0.5) != (labels == 1))
        )


def _patients(rng: np.random.Generator, count: int):
    """Patients whose lesions, from 1 to 12, are alike."""
    patient = np.repeat(np.arange(count), rng.integers(1, 13, count))
    labels = rng.integers(0, 2, count)[patient]
    shared = rng.normal(size=count)[patient]
    scores = 1 / (1 + np.exp(-(1.5 * labels - 0.75 + shared + 0.5 * rng.normal(size=len(patient)))))
    return labels, scores, patient


def test_sets_hold_the_label_of_a_lesion_of_a_new_patient_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = {0: [], 1: []}
    for _ in range(400):
        conformal = abstention.Conformal.fit(*_patients(rng, 30))
        labels, scores, patient = _patients(rng, 20)
        sets = conformal.sets(scores, 0.2)
        for label in (0, 1):  # one lesion, at random, of each new patient
            rows = np.flatnonzero(labels == label)
            _, first = np.unique(patient[rows], return_index=True)
            held[label] += sets[rows[first], label].tolist()
    for label in (0, 1):
        assert 0.79 < np.mean(held[label]) < 0.90


def test_counting_lesions_in_place_of_patients_would_fall_short():
    """One patient with many easy lesions does not make sets narrow for all others."""
    labels = np.repeat([1, 1], [100, 9])
    scores = np.concatenate([np.full(100, 0.99), np.linspace(0.1, 0.9, 9)])
    patients = np.concatenate([np.zeros(100), np.arange(1, 10)])
    labels[-1] = 0
    conformal = abstention.Conformal.fit(labels, scores, patients)
    assert conformal.sets(np.array([0.3]), 0.2)[0, 1]
    assert np.quantile(1 - scores[labels == 1], 0.8) < 0.7  # by lesions, .3 would be left out


def test_few_calibration_patients_leave_everything_open():
    conformal = abstention.Conformal.fit(
        np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]), np.arange(4)
    )
    assert conformal.sets(np.array([0.0, 0.5, 1.0]), 0.1).all()  # 2 patients of a class, 9 needed


def test_triage_counts_what_is_decided_and_wrong():
    sets = np.array([[True, False], [False, True], [False, True], [True, True], [False, False]])
    labels, patients = np.array([0, 1, 0, 1, 1]), np.arange(5)
    by = [abstention.Conformal.fit(labels, np.linspace(0, 1, 5), patients)]
    found = abstention.triage(labels, sets, patients, 0.1, by)
    assert found["counts"] == {"avid": 1, "refractory": 2, "both": 1, "neither": 1}
    assert (found["decided"]["value"], found["decided"]["n"]) == (0.6, 5)
    assert (found["error_of_decided"]["value"], found["error_of_decided"]["n"]) == (1 / 3, 3)
    assert found["coverage_of_positives"]["value"] == pytest.approx(2 / 3)
    assert found["coverage_of_negatives"]["value"] == 0.5
    assert (found["calibration_lesions"], found["calibration_patients"]) == (5, 5)

"""Comparisons against brute force, MLstatkit, statsmodels and simulation; R's in reference_test."""

import numpy as np
import pytest
from MLstatkit import Delong_test
from statsmodels.stats.multitest import multipletests

from dtc_jax.statistics import comparison, roc


def _sample(seed: int, patients: int = 40, each: int = 3, gain: float = 0.0):
    """Labels, two models' scores of the same lesions, patients; classes mix within patients."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), each)
    labels = rng.integers(0, 2, len(patient))
    signal = 0.8 * labels + 0.7 * rng.normal(size=patients)[patient]
    first = signal + gain * labels + 0.8 * rng.normal(size=len(patient))
    second = signal + 0.8 * rng.normal(size=len(patient))
    return labels, first, second, patient


def test_paired_test_agrees_with_mlstatkit():
    labels, first, second, _ = _sample(0)
    found = comparison.paired(labels, first, second)
    z, p, *_ = Delong_test(labels, first, second)
    assert abs(found.estimate.value / found.standard_error) == pytest.approx(abs(z), rel=1e-6)
    assert found.p == pytest.approx(p, rel=1e-6)


def test_clustered_covariance_is_obuchowskis_sum_over_patients():
    labels, first, second, patient = _sample(1)
    v10, v01 = [], []
    for scores in (first, second):
        wins = scores[labels == 1][:, None] > scores[labels == 0]
        v10.append(wins.mean(axis=1)), v01.append(wins.mean(axis=0))
    areas = [v.mean() for v in v10]
    pos, neg = patient[labels == 1], patient[labels == 0]
    m, n, count = len(pos), len(neg), len(np.unique(patient))
    i10, i01 = len(np.unique(pos)), len(np.unique(neg))
    expected = 0.0
    for i in np.unique(patient):
        x = [sum(v10[k][pos == i] - areas[k]) for k in (0, 1)]
        y = [sum(v01[k][neg == i] - areas[k]) for k in (0, 1)]
        expected += (
            i10 / ((i10 - 1) * m) * x[0] * x[1] / m + i01 / ((i01 - 1) * n) * y[0] * y[1] / n
        )
        expected += count / ((count - 1) * m) * (x[0] * y[1] + x[1] * y[0]) / n
    found = roc.clustered_covariance(labels, np.stack([first, second]), patient)
    assert found[0, 1] == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(np.diag(found)[0], roc.clustered_variance(labels, first, patient))


def test_copies_of_lesions_make_no_difference_more_certain():
    labels, first, second, patient = _sample(2)
    once = comparison.paired(labels, first, second, patient)
    copied = [np.repeat(x, 5) for x in (labels, first, second, patient)]
    again, naive = comparison.paired(*copied), comparison.paired(*copied[:3])
    assert again.p == pytest.approx(once.p)
    assert naive.standard_error < 0.6 * again.standard_error


def test_paired_test_rejects_as_often_as_it_says_and_finds_a_gain():
    equal = [comparison.paired(*_sample(seed)).p < 0.05 for seed in range(300)]
    assert 0.02 < np.mean(equal) < 0.09
    better = [comparison.paired(*_sample(seed, gain=0.8)).p < 0.05 for seed in range(100)]
    assert np.mean(better) > 0.8


def test_variance_of_a_shift_of_whole_patients_is_at_least_obuchowskis():
    patients = np.repeat(np.arange(5), [15, 4, 4, 2, 5])
    labels = np.array([int(label) for label in "100101111100010100101000101110"])
    unmoved = [80, 63, 14, 82, 75, 61, 52, 60, 70, 83, 11, 25, 34, 60, 26]
    first = np.array([*unmoved, 74, 26, 27, 41, 63, 35, 52, 32, 37, 71, 23, 56, 76, 71, 43])
    second = np.array([*unmoved, 84, 40, 41, 57, 25, 10, 18, 9, 31, 65, 47, 79, 91, 88, 69])
    found = comparison.paired(labels, first, second, patients)
    (a, c), (_, b) = roc.clustered_covariance(labels, np.stack([first, second]), patients)
    assert found.standard_error**2 == pytest.approx(a + b - 2 * c)
    assert found.p > 0.5


def test_the_same_model_is_not_different_from_itself():
    labels, first, _, patient = _sample(3)
    found = comparison.paired(labels, first, 2 * first + 1, patient)
    assert (found.estimate.value, found.estimate.low, found.estimate.high, found.p) == (0, 0, 0, 1)
    assert found.non_inferiority(0.05)["holds"] is True


def test_perfect_cohorts_and_single_patients_have_no_p():
    perfect = (np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]), np.arange(4))
    chance = (np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.2, 0.1]), np.arange(4))
    assert np.isnan(comparison.unpaired(perfect, chance).p)
    labels = np.array([0, 1, 1])
    found = comparison.paired(labels, labels + 0.1, 1 - labels, np.array(["a", "b", "b"]))
    assert found.estimate.as_dict()["low"] is None
    assert found.non_inferiority(0.05) == {"margin": 0.05, "p": None, "holds": None}


def test_a_small_cohort_without_an_error_is_not_known_exactly():
    labels, first, _, _ = _sample(9)
    known = (labels, first, None)
    perfect = (np.repeat([0, 1], 3), np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]), np.arange(6))
    found = comparison.unpaired(known, perfect)
    a, b = roc.auc_interval(*known), roc.auc_interval(*perfect)
    assert (found.estimate.value, b.value) == (pytest.approx(a.value - 1), 1)
    assert found.estimate.low == pytest.approx(a.value - 1 - (a.value - a.low))
    assert found.estimate.high == pytest.approx(a.value - 1 + np.hypot(a.high - a.value, 1 - b.low))
    assert found.estimate.high > 0.1  # six lesions show no difference
    assert np.isnan(found.p)
    assert found.non_inferiority(0.05)["holds"] is None
    assert comparison.unpaired(perfect, perfect).estimate.low < -0.3


def test_two_perfect_models_are_not_proved_alike_by_a_few_lesions():
    labels = np.array([0, 0, 1, 1])
    found = comparison.paired(
        labels, np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.2, 0.1, 0.9, 0.8])
    )
    assert (found.estimate.value, found.estimate.interval) == (0, "none: no variance")
    assert np.isnan(found.p)
    assert found.non_inferiority(0.05) == {"margin": 0.05, "p": None, "holds": None}


def test_unpaired_error_is_the_root_of_both_variances():
    labels, first, second, _ = _sample(9)
    found = comparison.unpaired((labels, first, None), (labels, second, None))
    error = np.sqrt(sum(roc.delong_variance(labels, scores) for scores in (first, second)))
    assert found.standard_error == pytest.approx(error)
    assert (found.degrees, found.estimate.patients) == (np.inf, None)


def test_unpaired_degrees_lie_between_the_smaller_cohort_and_both():
    small, large = _sample(4, patients=12), _sample(8, patients=80)
    found = comparison.unpaired(*((s[0], s[1], s[3]) for s in (small, large)))
    fewest = [
        min(len(np.unique(patient[labels == value])) for value in (0, 1)) - 1
        for labels, _, _, patient in (small, large)
    ]
    assert min(fewest) < found.degrees < sum(fewest)
    assert found.estimate.patients == 92


def test_holm_agrees_with_statsmodels_and_passes_over_unknown():
    p = np.random.default_rng(6).random(20) ** 3
    np.testing.assert_allclose(comparison.holm(p), multipletests(p, method="holm")[1])
    adjusted = comparison.holm(np.array([0.02, np.nan, 0.03]))
    np.testing.assert_allclose(adjusted, [0.04, np.nan, 0.04])
    assert comparison.holm(np.array([])).size == 0


def test_non_inferiority_holds_where_the_interval_lies_above_minus_margin():
    labels, first, second, patient = _sample(7, gain=0.1)
    found = comparison.paired(labels, first, second, patient)
    for margin in (0.01, 0.03, 0.1, 0.3):
        holds = found.non_inferiority(margin)["holds"]
        assert holds == (found.estimate.low > -margin)

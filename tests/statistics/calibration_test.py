"""Calibration against statsmodels and scikit-learn; R's values are in reference_test."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from sklearn import isotonic, linear_model, metrics

from dtc_jax.statistics import calibration


def _sample(n: int = 600, bias: float = 0.5, gain: float = 2.0, seed: int = 0):
    """Labels, scores that are too extreme by `gain` and too high by `bias`, patients."""
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, n // 4, n)
    x = rng.normal(size=n) + 0.7 * rng.normal(size=n // 4)[patients]
    labels = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(int)
    return labels, 1 / (1 + np.exp(-(gain * x + bias))), patients


def _robust(labels, design, offset, patients):
    """Coefficient and standard error, with the finite-sample factor of the number of clusters."""
    fit = sm.GLM(labels, design, family=sm.families.Binomial(), offset=offset).fit(
        cov_type="cluster", cov_kwds={"groups": patients, "use_correction": False}
    )
    count = len(np.unique(patients))
    return fit.params[0], fit.bse[0] * np.sqrt(count / (count - 1))


def test_slope_and_intercept_with_robust_errors_are_those_of_statsmodels():
    labels, scores, patients = _sample()
    x = calibration.log_odds(scores)
    for found, design, offset in (
        (calibration.slope(labels, scores, patients), np.column_stack([x, np.ones(600)]), None),
        (calibration.intercept(labels, scores, patients), np.ones(600), x),
    ):
        value, error = _robust(labels, design, offset, patients)
        assert found.value == pytest.approx(value, rel=1e-6)
        from_t = (found.high - found.low) / 2 / error  # the quantile of t
        assert from_t == pytest.approx(1.976, abs=0.01)


def test_a_good_model_has_slope_one_and_intercept_zero_and_a_bad_one_has_not():
    good, bad = _sample(4000, 0.0, 1.0), _sample(4000, 0.5, 2.0)
    assert calibration.slope(*good).low < 1 < calibration.slope(*good).high
    assert calibration.intercept(*good).low < 0 < calibration.intercept(*good).high
    assert calibration.slope(*bad).high < 0.7
    assert calibration.intercept(*bad).high < 0


@pytest.mark.parametrize(
    ("labels", "scores"), [([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]), ([1, 1, 1], [0.1, 0.5, 0.9])]
)
def test_separated_or_missing_classes_have_no_slope(labels, scores):
    found = calibration.slope(np.array(labels), np.array(scores), np.arange(len(labels)))
    assert np.isnan(found.value)
    assert found.interval.startswith("none")


def test_brier_score_is_that_of_scikit_learn():
    labels, scores, patients = _sample()
    found = calibration.brier(labels, scores, patients)
    assert found.value == pytest.approx(metrics.brier_score_loss(labels, scores))
    assert found.low < found.value < found.high


def test_bins_hold_every_lesion_once_and_equal_scores_together():
    labels, scores, patients = _sample()
    bins = calibration.reliability(labels, scores, patients)
    sizes = [one["observed"]["n"] for one in bins]
    assert sum(sizes) == 600
    assert len(bins) == 10
    assert max(sizes) - min(sizes) <= 1
    assert all(a["high"] < b["low"] for a, b in itertools.pairwise(bins))
    coarse = calibration.reliability(labels, np.round(scores), patients)
    assert [one["score"] for one in coarse] == [0.0, 1.0]


def test_ece_of_known_bins():
    labels = np.repeat([0, 1, 0, 1], [9, 1, 2, 8])
    scores = np.repeat([0.3, 0.6], 10)  # observed .1 and .8
    assert calibration.ece(labels, scores, np.arange(20)) == pytest.approx(0.2)


def test_isotonic_is_scikit_learns():
    labels, scores, _ = _sample()
    expected = isotonic.IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    new = np.linspace(0, 1, 50)
    found = calibration.fit("isotonic", labels, scores)(new)
    np.testing.assert_allclose(found, expected.predict(new))


def test_platt_and_temperature_undo_what_was_done():
    fitted, new = _sample(4000, 0.5, 2.0), _sample(4000, 0.5, 2.0, seed=1)
    before = calibration.summary(*new)
    platt, temperature = (
        calibration.summary(new[0], calibration.fit(m, *fitted[:2])(new[1]), new[2])
        for m in ("platt", "temperature")
    )
    assert platt["slope"]["value"] == pytest.approx(1, abs=0.1)
    assert platt["intercept"]["value"] == pytest.approx(0, abs=0.1)
    assert platt["ece"] < before["ece"] / 2
    assert temperature["slope"]["value"] == pytest.approx(1, abs=0.15)
    assert platt["brier"]["value"] < temperature["brier"]["value"] < before["brier"]["value"]


@pytest.mark.parametrize("scale", [1.0, 0.05, 1e-3])
def test_scores_that_lie_close_together_are_spread_as_far_as_they_must_be(scale):
    rng = np.random.default_rng(0)
    logit = rng.normal(size=400)
    labels = (rng.random(400) < special.expit(3 * logit)).astype(int)
    scores = special.expit(scale * logit)
    expected = linear_model.LogisticRegression(C=1e12, tol=1e-10, max_iter=10000)
    probability = expected.fit(logit[:, None], labels).predict_proba(logit[:, None])[:, 1]
    found = calibration.fit("platt", labels, scores)(scores)
    assert metrics.brier_score_loss(labels, found) == pytest.approx(
        metrics.brier_score_loss(labels, probability), abs=1e-4
    )
    slope = calibration.slope(labels, scores, np.arange(400))
    assert slope.value == pytest.approx(expected.coef_[0, 0] / scale, rel=1e-4)
    assert slope.low < 3 / scale < slope.high
    temperature = calibration.fit("temperature", labels, scores)(scores)
    assert metrics.brier_score_loss(labels, temperature) < 0.13


def test_temperature_keeps_a_half_and_separated_classes_do_no_harm():
    labels, scores, _ = _sample()
    assert calibration.fit("temperature", labels, scores)(np.array([0.5]))[0] == 0.5
    mend = calibration.fit("platt", np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))
    low, high = mend(np.array([0.1, 0.9]))
    assert 0.1 < low < high < 0.9


def test_predictive_values_follow_bayes_rule():
    labels = np.repeat([1, 1, 0, 0], [60, 23, 25, 15])  # the study's external cohort
    decisions = np.repeat([1, 0, 0, 1], [60, 23, 25, 15])
    ppv, npv = calibration.predictive_values(60 / 83, 25 / 40, 83 / 123)
    assert (ppv, npv) == pytest.approx((60 / 75, 25 / 48))
    found = calibration.by_prevalence(labels, decisions, np.arange(123), 500, 0)
    at = found["prevalence"].index(0.5)
    assert found["ppv"]["value"][at] == pytest.approx((60 / 83) / (60 / 83 + 15 / 40))
    assert (np.diff(found["ppv"]["value"]) > 0).all()
    assert (np.diff(found["npv"]["value"]) < 0).all()
    assert found["ppv"]["low"][at] < found["ppv"]["value"][at] < found["ppv"]["high"][at]


@pytest.mark.parametrize("score", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_a_constant_score_is_shifted_and_has_no_slope(score, noise):
    labels = np.repeat([0, 1], [20, 60])
    scores = np.clip(score + noise * np.arange(80), 0, 1)
    platt = calibration.fit("platt", labels, scores)(scores)
    np.testing.assert_allclose(platt, (60 * 61 / 62 + 20 / 22) / 80, atol=1e-6)
    assert calibration.fit("temperature", labels, scores)(scores) == pytest.approx(
        np.clip(scores, 1e-6, 1 - 1e-6)
    )
    found = calibration.slope(labels, scores, np.arange(80))
    assert np.isnan(found.value)
    assert "one score" in found.interval

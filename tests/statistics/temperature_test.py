"""The temperature that is fitted on validation."""

import numpy as np
import pytest
from scipy import special

from dtc_jax.statistics import calibration, roc, temperature


def _sample(true: float, n: int = 4000):
    """Labels whose log odds are the logit divided by `true`, and the scores of that logit."""
    rng = np.random.default_rng(0)
    logits = true * rng.normal(0.3, 1.5, n)
    return (rng.random(n) < special.expit(logits / true)).astype(int), special.expit(logits)


def _cross_entropy(labels, scores, value):
    logits = special.logit(scores) / value
    return float((np.logaddexp(0, logits) - labels * logits).mean())


@pytest.mark.parametrize("true", [0.3, 1.0, 2.0, 4.0])
def test_a_known_temperature_is_found(true):
    labels, scores = _sample(true)
    found = temperature.fit(labels, scores)
    assert found.value == pytest.approx(true, rel=0.06)
    assert (found.n, found.note) == (4000, "")
    assert _cross_entropy(labels, scores, found.value) <= _cross_entropy(labels, scores, 1.0)
    divided = special.expit(special.logit(scores) / found.value)
    assert roc.auc(labels, divided) == roc.auc(labels, scores)


def test_it_is_that_of_the_reports_recalibration():
    labels, scores = _sample(2.0, n=60)
    divided = special.expit(special.logit(scores) / temperature.fit(labels, scores).value)
    np.testing.assert_allclose(
        calibration.fit("temperature", labels, scores)(scores), divided, atol=1e-6
    )


def test_where_it_says_little_it_is_bounded_and_says_so():
    half = np.array([0, 0, 0, 1, 1, 1])
    one_class = temperature.fit(np.ones(5), np.linspace(0.1, 0.9, 5))
    assert (one_class.value, one_class.n) == (1.0, 5)
    assert "lacks a class" in one_class.note
    assert temperature.fit(np.empty(0), np.empty(0)).value == 1.0
    equal = temperature.fit(half, np.full(6, 0.7))
    assert equal.value == 1.0
    assert "equal" in equal.note
    separated = temperature.fit(half, np.array([0.01, 0.02, 0.03, 0.97, 0.98, 0.99]))
    assert 1 < separated.value < 5  # three of each are not that certain
    assert "separate" in separated.note
    sure = temperature.fit(half, np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
    assert 1 < sure.value <= temperature.MOST
    wrong = temperature.fit(half, np.array([0.9, 0.8, 0.9, 0.1, 0.2, 0.1]))
    assert wrong.value == pytest.approx(temperature.MOST, rel=1e-3)
    assert "end of the range" in wrong.note
    flat = temperature.fit(half, 0.5 + 1e-4 * np.arange(-2.5, 3))
    assert flat.value == pytest.approx(temperature.LEAST, rel=1e-3)


@pytest.mark.parametrize(("n", "most"), [(20, 1.0), (400, 0.98)])  # of few cases it is too wide
def test_its_interval_contains_the_true_one_in_95_of_100(n, most):
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        logits = 2.0 * rng.normal(0.0, 1.5, n)
        labels = (rng.random(n) < special.expit(logits / 2.0)).astype(int)
        found.append(temperature.fit(labels, special.expit(logits)))
    inside = np.mean([each.low <= 2.0 <= each.high for each in found])
    assert 0.92 <= inside <= most
    assert all(each.low <= each.value <= each.high for each in found)

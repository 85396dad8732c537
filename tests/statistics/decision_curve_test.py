"""Decision curves: the study's own figures and limits; dcurves' values are in reference_test."""

import numpy as np
import pytest

from dtc_jax.statistics import decision_curve


def _sample():
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 80, 300)
    labels = rng.integers(0, 2, 300)
    return labels, 1 / (1 + np.exp(-rng.normal(2 * labels - 1))), patients


@pytest.mark.parametrize(
    ("counts", "model", "everyone"),
    [((208, 63, 277, 67), 0.2293, -0.1187), ((60, 23, 25, 15), 0.3659, 0.3496)],
)
def test_net_benefits_of_the_study(counts, model, everyone):
    labels = np.repeat([1, 1, 0, 0], counts)
    decisions = np.repeat([1.0, 0.0, 0.0, 1.0], counts)
    found = decision_curve.net_benefit(labels, decisions, np.array([0.5]))
    assert found["model"][0] == pytest.approx(model, abs=5e-5)
    assert found["all"][0] == pytest.approx(everyone, abs=5e-5)
    assert found["gain"][0] == pytest.approx(model - max(everyone, 0), abs=1e-4)


def test_a_perfect_model_gains_its_prevalence_and_an_empty_one_is_treat_none():
    labels = np.repeat([1, 0], [30, 70])
    np.testing.assert_allclose(
        decision_curve.net_benefit(labels, labels.astype(float))["model"], 0.3
    )
    np.testing.assert_array_equal(decision_curve.net_benefit(labels, 0.0 * labels)["model"], 0)


def test_bands_hold_the_curve_and_curves_are_those_without_bands():
    labels, scores, patients = _sample()
    found = decision_curve.decision_curve(labels, scores, patients, 500, 0)
    plain = decision_curve.net_benefit(labels, scores)
    for name in ("model", "all", "none", "gain"):
        value, low, high = (np.array(found[name][key]) for key in ("value", "low", "high"))
        np.testing.assert_allclose(value, plain[name])
        if name != "gain":  # the better of two is better still in a resample
            assert (low <= value + 1e-12).all()
            assert (value <= high + 1e-12).all()
    assert len(found["threshold"]) == 99


def test_bands_are_wider_where_lesions_of_a_patient_are_copies():
    labels, scores, _ = _sample()
    copied = [np.repeat(x, 4) for x in (labels, scores, np.arange(300))]
    one_each = (*copied[:2], np.arange(1200))
    widths = []
    for columns in (copied, one_each):
        model = decision_curve.decision_curve(*columns, 500, 0)["model"]
        widths.append(np.mean(np.array(model["high"]) - np.array(model["low"])))
    assert widths[0] > 1.6 * widths[1]

"""Figures of lesions.csv against R's pROC, R itself and dcurves, as kept in `reference/`.

How each table was made stands in its README.md.
"""

import pathlib

import numpy as np
import pandas as pd
import pytest

from dtc_jax.statistics import calibration, comparison, decision_curve, rates, roc

HERE = pathlib.Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def lesions() -> pd.DataFrame:
    return pd.read_csv(HERE / "lesions.csv")


@pytest.fixture(scope="module")
def by_r() -> pd.Series:
    return pd.read_csv(HERE / "reference.csv", index_col="name").value


def test_auc_variance_and_covariance_are_those_of_proc(lesions, by_r):
    scores = lesions[["first", "second"]].to_numpy().T
    covariance = roc.clustered_covariance(lesions.label.to_numpy(), scores, np.arange(160))
    expected = [
        [by_r.variance_first, by_r.covariance],
        [by_r.covariance, by_r.variance_second],
    ]
    np.testing.assert_allclose(covariance, expected, rtol=1e-12)
    for name in ("first", "second"):
        area = roc.auc(lesions.label.to_numpy(), lesions[name].to_numpy())
        assert area == pytest.approx(by_r[f"auc_{name}"], abs=1e-14)


def test_paired_test_is_that_of_proc(lesions, by_r):
    found = comparison.paired(lesions.label, lesions["first"], lesions.second)
    assert found.estimate.value / found.standard_error == pytest.approx(by_r.paired_z, rel=1e-12)
    assert found.p == pytest.approx(by_r.paired_p, rel=1e-12)


def test_unpaired_difference_and_error_are_those_of_proc(lesions, by_r):
    halves = [
        (rows.label.to_numpy(), rows["first"].to_numpy(), None)
        for rows in (lesions[:80], lesions[80:])
    ]
    found = comparison.unpaired(*halves)
    assert found.estimate.value == pytest.approx(by_r.unpaired_difference, abs=1e-13)
    assert found.standard_error == pytest.approx(by_r.unpaired_standard_error, rel=1e-12)


def test_calibration_is_that_of_r(lesions, by_r):
    columns = (lesions.label.to_numpy(), lesions["first"].to_numpy(), lesions.patient_id.to_numpy())
    assert calibration.slope(*columns).value == pytest.approx(by_r.calibration_slope, abs=1e-7)
    found = calibration.intercept(*columns).value
    assert found == pytest.approx(by_r.calibration_intercept, abs=1e-7)


def test_wilson_and_holm_are_those_of_r(lesions, by_r):
    found = rates.proportion((lesions["first"] >= 0.5) == (lesions.label == 1))
    expected = (by_r.accuracy_wilson_low, by_r.accuracy_wilson_high)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    adjusted = comparison.holm(np.array([0.01, 0.04, 0.03, 0.005, 0.6]))
    np.testing.assert_allclose(adjusted, [by_r[f"holm_{i}"] for i in range(1, 6)])


def test_net_benefit_is_that_of_dcurves(lesions):
    expected = pd.read_csv(HERE / "decision_curve.csv")
    labels, scores = lesions.label.to_numpy(), lesions["first"].to_numpy()
    found = decision_curve.net_benefit(labels, scores, expected.threshold.to_numpy())
    np.testing.assert_allclose(found["model"], expected["first"], atol=1e-13)
    np.testing.assert_allclose(found["all"], expected["all"], atol=1e-13)

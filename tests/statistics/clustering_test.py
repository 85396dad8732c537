"""Intra-class correlation against statsmodels' analysis of variance, and the design effect."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from dtc_jax.statistics import clustering


def test_icc_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 5)
    values = rng.normal(size=40)[patients] + rng.normal(size=200)
    table = anova_lm(ols("y ~ C(g)", pd.DataFrame({"y": values, "g": patients})).fit())
    between, within = table.mean_sq
    expected = (between - within) / (between + 4 * within)
    assert clustering.icc(values, patients) == pytest.approx(expected)


def test_icc_of_unequal_patients_is_about_what_was_put_in():
    rng = np.random.default_rng(1)
    patients = rng.integers(0, 800, 4000)
    values = np.sqrt(0.3) * rng.normal(size=800)[patients] + np.sqrt(0.7) * rng.normal(size=4000)
    assert clustering.icc(values, patients) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("values", "patients", "expected"),
    [
        ([1, 1, 2, 2], [0, 0, 1, 1], 1.0),
        ([1, 2, 1, 2], [0, 0, 1, 1], -1.0),
        ([1, 2, 3], [0, 1, 2], np.nan),
        ([1, 2, 3], [0, 0, 0], np.nan),
        ([1, 1, 1, 1], [0, 0, 1, 1], np.nan),
    ],
)
def test_icc_at_its_limits(values, patients, expected):
    found = clustering.icc(np.array(values), np.array(patients))
    assert found == pytest.approx(expected, nan_ok=True)


def test_design_effect_of_copied_lesions_is_about_their_number():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 200)
    scores = rng.normal(labels)
    copied = [np.repeat(x, 4) for x in (labels, scores, np.arange(200))]
    assert clustering.design_effect(*copied) == pytest.approx(4, rel=0.02)
    assert clustering.design_effect(labels, scores, np.arange(200)) == pytest.approx(1)
    assert np.isnan(clustering.design_effect(labels, labels, np.arange(200)))  # AUC 1

"""Mean Dice against SciPy's t interval, and what becomes of cases without lesion."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dtc_jax.statistics import dice


@pytest.fixture
def cases():
    values = np.array([0.9, 0.8, 0.6, 0.7, np.nan, np.nan])
    return pd.DataFrame(
        {
            "cohort": "primary",
            "split": "test",
            "patient_id": ["a", "b", "c", "d", "a", "e"],
            "true_voxels": [10, 20, 30, 40, 0, 0],
            "found_voxels": [12, 18, 30, 40, 0, 7],
            "dice": values,
            "dice_ball": values / 2,
        }
    )


def test_the_interval_of_one_case_a_patient_is_that_of_student(cases):
    figures = dice.metrics(cases)["primary"]["test"]
    known = cases.dice.dropna()
    low, high = stats.t.interval(0.95, 3, known.mean(), stats.sem(known))
    assert figures["dice"]["value"] == pytest.approx(0.75)
    assert figures["dice"]["low"] == pytest.approx(low)
    assert figures["dice"]["high"] == pytest.approx(high)
    assert (figures["dice"]["n"], figures["dice"]["patients"]) == (4, 4)
    assert figures["median_dice"] == pytest.approx(0.75)


def test_no_interval_passes_what_a_dice_can_be(cases):
    few = cases[cases.patient_id.isin(["a", "c"])]  # .9 and .6: Student's would be -1.16 to 2.66
    figures = dice.metrics(few)["primary"]["test"]["dice"]
    assert (figures["low"], figures["high"]) == (0.0, 1.0)


def test_cases_without_lesion_are_counted_and_not_averaged(cases):
    figures = dice.metrics(cases)["primary"]["test"]
    assert (figures["cases"], figures["patients"]) == (6, 5)
    assert (figures["empty_cases"], figures["empty_cases_with_finding"]) == (2, 1)
    alone = dice.metrics(cases[cases.true_voxels == 0])["primary"]["test"]
    assert alone["dice"]["value"] is None
    assert alone["median_dice"] is None
    json.dumps(alone, allow_nan=False)


def test_a_baseline_has_its_own_column(cases):
    figures = dice.metrics(cases, "dice_ball")["primary"]["test"]
    assert figures["dice"]["value"] == pytest.approx(0.375)
    assert "empty_cases_with_finding" not in figures


def test_cohorts_and_splits_are_told_apart(cases):
    both = pd.concat([cases, cases.assign(cohort="external", dice=cases.dice / 3)])
    figures = dice.metrics(both)
    assert figures["external"]["test"]["dice"]["value"] == pytest.approx(0.25)
    assert figures["primary"]["test"]["dice"]["value"] == pytest.approx(0.75)

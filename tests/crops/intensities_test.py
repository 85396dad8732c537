"""Records that lack their intercept stand out among others, and a cohort of them is refused."""

import numpy as np
import pytest

from dtc_jax.crops import intensities
from dtc_jax.errors import InputError

LUNG, TISSUE, TIGHT = (-920.0, 60.0), (-700.0, 400.0), (-60.0, 150.0)


def _names(count):
    return [f"l{i}" for i in range(count)]


def _compare(*found):
    return intensities.compare("m.csv", _names(len(found)), found)


def test_the_percentiles_are_those_of_the_voxels():
    image = np.random.default_rng(0).permutation(np.arange(1001)).reshape(7, 11, 13)
    assert intensities.of_record(image.astype(np.int16)) == (50.0, 950.0)


@pytest.mark.parametrize("odd", [LUNG, TISSUE, TIGHT, (-1000.0, 1100.0), (-1000.0, -800.0)])
def test_what_lesions_may_look_like_is_not_named(odd):
    assert _compare(*[LUNG] * 9, odd) == []


@pytest.mark.parametrize("shift", [1024, -1024])
def test_a_shifted_one_is_named(shift):
    (note,) = _compare(*[LUNG] * 5, (LUNG[0] + shift, LUNG[1] + shift), TISSUE)
    assert note.startswith(f"the HU around l5 ({LUNG[0] + shift:.0f} to {LUNG[1] + shift:.0f}) are")
    assert "check the rescale intercept" in note


def test_many_are_counted():
    (note,) = _compare(*[LUNG] * 30, *[(104.0, 1084.0)] * 12)
    assert "l39 (104 to 1084) and 2 more are far" in note


@pytest.mark.parametrize("low_high", [(108.0, 1032.0), (0.0, 1.0), (0.0, 0.0)])
def test_a_cohort_that_is_not_in_hu_is_refused(low_high):
    with pytest.raises(InputError, match=r"m\.csv: its scans are not in HU: .* to"):
        _compare(*[low_high] * 3, LUNG)


def test_too_few_to_compare_are_left_alone():
    assert _compare() == _compare(LUNG, (104.0, 1084.0)) == []


def test_a_cohort_of_soft_tissue_is_one():
    assert _compare(*[TIGHT] * 6) == _compare(*[(80.0, 150.0)] * 6) == []

"""Slices with outlines: the right way round, and each outline where its mask is."""

import numpy as np
import pytest

from dtc_jax.imaging import outlined
from dtc_jax.report import drawing, outlines

SHAPE, PIXEL_MM = (20, 30), (1.0, 0.5)


@pytest.fixture
def axis():
    found, true = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    found[3:6, 4:9] = True  # near the back, on the left of the patient
    hu = np.where(found, 100.0, -900.0)
    with drawing.style():
        one = outlined.Outlined(hu, found, true, PIXEL_MM, "Dice 0.00")
        return outlines.outlines([one]).axes[0]


def test_the_back_is_below_and_the_left_on_the_right(axis):
    assert axis.get_ylim() == (0.0, 20.0)
    assert axis.get_xlim() == (15.0, 0.0)
    assert axis.images[0].origin == "lower"


def test_the_outline_lies_about_what_was_found(axis):
    (contour,) = axis.collections  # an empty mask has none
    corners = np.concatenate([path.vertices for path in contour.get_paths()])
    assert corners[:, 0].min() == pytest.approx(4.25 * 0.5, abs=0.26)
    assert corners[:, 0].max() == pytest.approx(8.75 * 0.5, abs=0.26)
    assert corners[:, 1].min() == pytest.approx(3.0, abs=0.51)
    assert corners[:, 1].max() == pytest.approx(6.0, abs=0.51)


def test_the_slice_with_most_of_a_lesion_is_shown():
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 0, 0] = mask[2, :3, 0] = True
    assert outlined.largest_slice(mask) == 2

"""The patient's right and left lung, in drawn chests and in real ones."""

import os
import pathlib

import numpy as np
import pytest

from dtc_jax.imaging import lung_sides, volume
from dtc_jax.imaging.lung_sides import sides
from dtc_jax.imaging.lungs import lung_field
from dtc_jax.imaging.volume import Volume

# Index (z, y, x) to RAS: x grows towards the patient's right.
AFFINE = np.array([[0, 0, 3.0, -100], [0, 3, 0, -80], [4, 0, 0, 20], [0, 0, 0, 1]])
SHAPE = (50, 54, 68)
Z, Y, X = np.meshgrid(
    *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, (4, 3, 3), strict=True)),
    indexing="ij",
    sparse=True,
)


def _lung(sign: int) -> np.ndarray:
    """The lung at this sign of x, hollowed by the heart. # [Z, Y, X] bool"""
    lung = (Z / 90) ** 2 + (Y / 65) ** 2 + ((X - sign * 52) / 42) ** 2 < 1
    return lung & ((Z + 20) ** 2 + (Y - 20) ** 2 + X**2 > 42**2)


@pytest.mark.parametrize("bridge_mm", [0, 8])
@pytest.mark.parametrize("turn", [np.s_[:], np.s_[:, ::-1], np.s_[:, :, ::-1]])
def test_both_lungs_are_told_apart_even_where_they_touch(bridge_mm, turn):
    right, left = _lung(1), _lung(-1)
    bridge = (abs(Y + 20) < bridge_mm / 2) & (abs(Z - 50) < 20) & (abs(X) < 30) & ~right & ~left
    affine = AFFINE.copy()
    if turn == np.s_[:, :, ::-1]:  # an array whose x runs the other way, with its affine
        affine[:, 2] *= -1
    found = sides(Volume((right | left | bridge)[turn], affine))
    assert found.array.dtype == np.uint8
    assert (found.array[turn][right] == lung_sides.RIGHT).mean() > 0.99
    assert (found.array[turn][left] == lung_sides.LEFT).mean() > 0.99
    assert not found.array[turn][~(right | left | bridge)].any()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("cut", [np.s_[:], np.s_[10:35]])
def test_a_lung_alone_is_told_by_the_hollow_of_the_heart(sign, cut):
    lung = _lung(sign)[cut]
    found = sides(Volume(lung, AFFINE)).array
    assert set(np.unique(found[lung])) == {lung_sides.RIGHT if sign > 0 else lung_sides.LEFT}


def test_a_lung_alone_without_a_hollow_and_an_empty_mask_have_no_side():
    ball = Z**2 + Y**2 + X**2 < 50**2
    assert not sides(Volume(ball, AFFINE)).array.any()
    assert not sides(Volume(ball & False, AFFINE)).array.any()


def test_the_lobes_of_one_lung_are_not_two_lungs():
    lung = _lung(1) & (abs(Z - 10 + 0.3 * Y) > 6)  # parted by fluid in the fissure
    both = sides(Volume(lung | _lung(-1), AFFINE)).array
    assert (both[lung] == lung_sides.RIGHT).mean() > 0.99
    assert set(np.unique(sides(Volume(lung, AFFINE)).array)) == {0, lung_sides.RIGHT}


@pytest.mark.skipif("DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder")
def test_the_real_left_lung_alone_is_the_left_one():
    scan = volume.read_image(
        pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_ct", "LIDC-IDRI-0001_ct.nii.gz")
    )
    field = lung_field(scan)
    assert set(np.unique(sides(field).array[field.array])) == {lung_sides.LEFT}

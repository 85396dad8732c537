"""Lesions measured, against closed forms and brute force in mm."""

import itertools
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import distance

from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.volume import Volume
from tests.ramps import SPACING_MM, ramp, value


def _brute_diameter_mm(mask: np.ndarray, spacing_mm) -> float:
    """The largest distance of any two corners of the voxels of one slice."""
    steps = np.array(list(itertools.product((-0.5, 0.5), repeat=2)))
    largest = 0.0
    for plane in mask:
        corners = (np.argwhere(plane)[:, None] + steps).reshape(-1, 2) * spacing_mm[1:]
        if len(corners):
            largest = max(largest, distance.cdist(corners, corners).max())
    return largest


@pytest.mark.parametrize("seed", range(12))
def test_the_diameter_is_the_farthest_pair_of_corners_in_a_slice(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((4, 9, 11)) < rng.choice([0.02, 0.2, 0.7])
    mask[rng.integers(4), rng.integers(9), rng.integers(11)] = True
    spacing_mm = rng.uniform(0.4, 3.0, 3)
    expected = _brute_diameter_mm(mask, spacing_mm)
    assert lesions.axial_diameter_mm(mask, spacing_mm) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("side", "diameter_mm"),
    [
        ((1, 1, 1), np.hypot(0.7, 0.9)),
        ((9, 1, 1), np.hypot(0.7, 0.9)),  # long along z alone: its slices are still one voxel
        ((1, 12, 1), np.hypot(8.4, 0.9)),
        ((1, 1, 12), np.hypot(0.7, 10.8)),
        ((3, 10, 8), np.hypot(7.0, 7.2)),
    ],
)
def test_the_measures_of_a_box_have_their_closed_forms(side, diameter_mm):
    scan = ramp()
    mask = Volume(np.zeros(scan.shape, bool), scan.affine)
    start = np.array([4, 5, 6])
    mask.array[tuple(slice(a, a + n) for a, n in zip(start, side, strict=True))] = True
    found = lesions.measure(scan, mask)
    middle = start + (np.array(side) - 1) / 2
    assert found.diameter_mm == pytest.approx(diameter_mm)
    assert found.volume_mm3 == pytest.approx(np.prod(side) * np.prod(SPACING_MM))
    assert found.mean_hu == pytest.approx(value(middle))
    np.testing.assert_allclose(found.box_mm, np.multiply(side, SPACING_MM))
    np.testing.assert_allclose(found.scan_box_mm, np.multiply(scan.shape, SPACING_MM))
    np.testing.assert_allclose(found.center_mm, scan.world(middle))
    np.testing.assert_allclose(lesions.box_center_mm(mask), scan.world(middle))


def test_the_diameter_of_a_disc_is_its_own_in_mm():
    spacing_mm = np.array([2.0, 0.25, 0.4])
    y, x = np.indices((121, 81))
    disc = ((y - 60) * 0.25) ** 2 + ((x - 40) * 0.4) ** 2 <= 10.0**2
    found = lesions.axial_diameter_mm(np.stack([disc, disc]), spacing_mm)
    assert 20.0 <= found <= 20.0 + np.hypot(0.25, 0.4)  # from edge to edge of its voxels


@pytest.mark.parametrize("turn_deg", [0, 17, 45, 90, 133])
@pytest.mark.parametrize("spacing_mm", [(2.5, 0.25, 0.25), (1.0, 0.2, 0.4), (5.0, 0.5, 0.3)])
def test_the_axes_of_an_ellipse_are_its_own_however_it_lies(turn_deg, spacing_mm):
    y, x = (np.indices((160, 160)) - 79.5) * np.array(spacing_mm[1:])[:, None, None]
    turn = np.deg2rad(turn_deg)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    large, small = ((u / (a / 2)) ** 2 + (v / (b / 2)) ** 2 <= 1 for a, b in ((24, 14), (12, 13.5)))
    found = lesions.axial_axes_mm(np.stack([small, large, small]), np.array(spacing_mm))
    pixel_mm = np.hypot(*spacing_mm[1:])  # they run from edge to edge of the voxels
    for axis_mm, true_mm in zip(found, (24, 14), strict=True):
        assert true_mm - pixel_mm <= axis_mm <= true_mm + pixel_mm


def test_the_short_axis_stands_at_right_angles_on_the_long_one():
    plane = np.ones((1, 3, 4), bool)  # its diagonal is 5; across it, 3 / 4 of that from a corner
    assert lesions.axial_axes_mm(plane, np.ones(3)) == pytest.approx((5, 3.75))
    dented = np.ones((1, 5, 9), bool)
    dented[0, 1:4, 3:6] = False
    whole = lesions.axial_axes_mm(np.ones((1, 5, 9), bool), np.ones(3))
    assert lesions.axial_axes_mm(dented, np.ones(3)) == pytest.approx(whole)


# --- real scans ---

needs_data = pytest.mark.skipif(
    "DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder"
)


@needs_data
def test_real_nodules_are_measured_and_cut():
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_nodules")
    for row in pd.read_csv(folder / "lesions.csv").iloc[::16].itertuples():
        scan = volume.read_image(folder / row.image)
        mask = volume.read_mask(folder / row.mask, scan)
        found = lesions.measure(scan, mask)
        if mask.array.sum() < 1500:  # brute force takes its square
            brute_mm = _brute_diameter_mm(mask.array, mask.spacing_mm)
            assert found.diameter_mm == pytest.approx(brute_mm), row.lesion_id
        assert 2 < found.diameter_mm < 80, row.lesion_id
        assert (found.box_mm <= found.scan_box_mm + 1e-9).all(), row.lesion_id
        assert found.volume_mm3 <= np.prod(found.box_mm) + 1e-6, row.lesion_id
        crop, extent = lesions.cut(scan, found.center_mm, (80, 80, 80))
        region, _ = lesions.cut(mask, found.center_mm, (80, 80, 80), kind="mask")
        assert region.array.sum() == pytest.approx(found.volume_mm3, rel=0.25), row.lesion_id
        reach_mm = np.diff(extent)[:, 0]
        assert (abs(reach_mm - np.minimum(found.scan_box_mm, 80)) <= 1).all(), row.lesion_id
        mean_hu = crop.array[region.array].mean()
        assert mean_hu == pytest.approx(found.mean_hu, abs=60), row.lesion_id


@needs_data
def test_the_nodule_of_a_real_ct_is_cut_at_its_place():
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_ct")
    scan = volume.read_image(folder / "LIDC-IDRI-0001_ct.nii.gz")
    mask = volume.read_mask(folder / "LIDC-IDRI-0001_nodules.nii.gz", scan)
    assert lesions.components(mask.array).max() == 1
    found = lesions.measure(scan, mask)
    crop, _ = lesions.cut(scan, found.center_mm, (48, 72, 72))
    region, _ = lesions.cut(mask, found.center_mm, (48, 72, 72), kind="mask")
    np.testing.assert_allclose(lesions.box_center_mm(region), found.center_mm, atol=1)
    assert region.array.sum() == pytest.approx(found.volume_mm3, rel=0.05)
    assert crop.array[region.array].mean() > crop.array[~region.array].mean() + 300
    blank = Volume(np.zeros(scan.shape, bool), scan.affine)
    back = lesions.paste(region, blank, kind="mask")
    overlap = 2 * (back.array & mask.array).sum() / (back.array.sum() + mask.array.sum())  # Dice
    assert overlap > 0.95

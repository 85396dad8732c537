"""Lesions cut out, pasted back and measured, against closed forms and brute force in mm."""

import itertools
import os
import pathlib
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.spatial import distance, transform

from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.volume import Volume

SPACING_MM = (2.5, 0.7, 0.9)


def _affine(spacing_mm=SPACING_MM, tilt_deg=(20, -15, 25)) -> np.ndarray:
    """From an index (z, y, x) to a tilted world."""
    affine = np.eye(4)
    tilt = transform.Rotation.from_euler("xyz", tilt_deg, degrees=True).as_matrix()
    affine[:3, :3] = tilt[:, ::-1] * spacing_mm
    affine[:3, 3] = (-31.0, 87.5, 12.25)
    return affine


def _ramp(shape=(16, 24, 20), affine=None) -> Volume:
    """HU that change linearly along each axis, so that interpolation has a closed form."""
    z, y, x = np.indices(shape)
    return Volume((100 * z + 10 * y + x).astype(np.int16), _affine() if affine is None else affine)


def _value(index: np.ndarray) -> np.ndarray:
    return index @ [100.0, 10.0, 1.0]


# --- cut ---


@pytest.mark.parametrize("size", [(5, 7, 9), (6, 8, 4), (5, 8, 1)])
@pytest.mark.parametrize("spacing_mm", [1.0, 0.6])
def test_the_point_lies_at_the_middle_of_the_crop(size, spacing_mm):
    scan = _ramp()
    center = np.array([7.3, 11.9, 9.2])
    point_mm = scan.world(center)
    crop, extent = lesions.cut(scan, point_mm, size, spacing_mm)
    middle = (np.array(size) - 1) / 2
    np.testing.assert_allclose(crop.world(middle), point_mm, atol=1e-9)
    np.testing.assert_allclose(crop.spacing_mm, spacing_mm)
    assert crop.array.dtype == np.float32
    assert extent.tolist() == [[0, n] for n in size]
    # Each voxel holds what the scan has at that place of the world.
    places = np.moveaxis(np.indices(size), 0, -1)
    expected = _value(scan.index(crop.world(places)))
    np.testing.assert_allclose(crop.array, expected, atol=1e-2)


def test_a_crop_may_have_another_spacing_along_each_axis():
    scan = _ramp()
    spacing_mm = np.array([2.5, 1.0, 1.2])
    crop, _ = lesions.cut(scan, scan.world((7.3, 11.9, 9.2)), (5, 7, 6), spacing_mm)
    np.testing.assert_allclose(crop.spacing_mm, spacing_mm)
    places = np.moveaxis(np.indices(crop.shape), 0, -1)
    expected = _value(scan.index(crop.world(places)))
    np.testing.assert_allclose(crop.array, expected, atol=1e-2)


@pytest.mark.parametrize("center", [(0, 0, 0), (15, 23, 19), (0.4, 12, 18.7), (-0.5, 23.5, 3)])
@pytest.mark.parametrize("fill", ["edge", -1000.0])
def test_the_extent_is_where_the_scan_is_and_the_rest_is_filled(center, fill):
    scan = _ramp()
    size = (11, 12, 13)
    crop, extent = lesions.cut(scan, scan.world(center), size, fill=fill)
    index = scan.index(crop.world(np.moveaxis(np.indices(size), 0, -1)))  # [D, H, W, 3]
    within = ((index >= -0.5 - 1e-3) & (index <= np.array(scan.shape) - 0.5 + 1e-3)).all(axis=-1)
    told = np.zeros(size, bool)
    told[tuple(slice(start, stop) for start, stop in extent)] = True
    np.testing.assert_array_equal(told, within)
    assert not within.all()
    edge = _value(np.clip(index, 0, np.array(scan.shape) - 1))
    expected = np.where(within, edge, edge if fill == "edge" else fill)
    np.testing.assert_allclose(crop.array, expected, atol=1e-2)


def test_a_mask_has_nothing_beyond_its_scan():
    mask = Volume(np.ones((6, 6, 6), bool), _affine())
    crop, extent = lesions.cut(mask, mask.world((0, 3, 5)), (9, 9, 9), kind="mask")
    assert crop.array.dtype == bool
    told = np.zeros(crop.shape, bool)
    told[tuple(slice(start, stop) for start, stop in extent)] = True
    np.testing.assert_array_equal(crop.array, told)


def test_a_scan_smaller_than_the_crop_lies_inside_it():
    scan = _ramp((3, 4, 5), _affine((1, 1, 1)))
    crop, extent = lesions.cut(scan, scan.world((1, 1.5, 2)), (9, 10, 11))
    assert extent.tolist() == [[3, 6], [3, 7], [3, 8]]
    np.testing.assert_allclose(crop.array[3:6, 3:7, 3:8], scan.array, atol=1e-2)


@pytest.mark.parametrize(
    "center", [(-0.6, 5, 5), (5, 24, 5), (5, 5, 1e6), (np.nan, 5, 5), (5, 5, -300)]
)
@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_lesion_outside_the_scan_is_refused(center, kind):
    scan = _ramp()
    with pytest.raises(InputError, match="outside the scan"):
        lesions.cut(scan, scan.world(center), (24, 24, 24), kind=kind)


def test_a_whole_ct_is_not_copied_for_one_lesion():
    scan = Volume(np.zeros((300, 512, 512), np.int16), _affine((1.25, 0.7, 0.7)))
    point_mm = scan.world((150, 256, 300))
    tracemalloc.start()
    begin = time.perf_counter()
    lesions.cut(scan, point_mm, (48, 72, 72))
    took_s = time.perf_counter() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # bytes; the scan in float32 has 315e6
    assert took_s < 1.0  # seen: 0.02


# --- paste ---


@pytest.mark.parametrize("center", [(7, 11, 9), (0, 23, 4)])
@pytest.mark.parametrize("size", [(5, 7, 9), (5, 31, 31)])
def test_pasting_undoes_the_cut(center, size):
    scan = _ramp(affine=_affine((1, 1, 1)))
    crop, _ = lesions.cut(scan, scan.world(center), size)
    blank = Volume(np.full(scan.shape, -1000, np.int16), scan.affine)
    back = lesions.paste(crop, blank)
    covered = np.zeros(scan.shape, bool)
    half = np.array(size) // 2
    covered[tuple(slice(max(0, c - h), c + h + 1) for c, h in zip(center, half, strict=True))] = 1
    np.testing.assert_array_equal(back.array, np.where(covered, scan.array, -1000))
    assert back.array.dtype == np.int16
    assert (blank.array == -1000).all()  # a copy is returned
    np.testing.assert_array_equal(back.affine, scan.affine)


def test_pasting_a_mask_undoes_the_cut():
    array = np.random.default_rng(0).random((12, 13, 14)) < 0.4
    array[:2] = array[:, -2:] = False
    mask = Volume(array, _affine((1, 1, 1)))
    crop, _ = lesions.cut(mask, mask.world((6, 6, 7)), (13, 13, 15), kind="mask")
    blank = Volume(np.zeros(array.shape, bool), mask.affine)
    np.testing.assert_array_equal(lesions.paste(crop, blank, kind="mask").array, array)


def test_a_mask_drawn_at_1_mm_keeps_place_and_volume_on_the_grid_of_the_scan():
    scan = Volume(np.zeros((30, 60, 60), np.int16), _affine((1.25, 0.6, 0.6)))
    point_mm = scan.world((14, 30, 31))
    crop, _ = lesions.cut(scan, point_mm, (25, 25, 25))
    away = np.indices(crop.shape) - 12.0
    ball = Volume((away**2).sum(axis=0) <= 8.0**2, crop.affine)
    drawn = lesions.paste(ball, Volume(np.zeros(scan.shape, bool), scan.affine), kind="mask")
    measured = lesions.measure(scan, drawn)
    assert measured.volume_mm3 == pytest.approx(4 / 3 * np.pi * 8.0**3, rel=0.05)
    centroid = drawn.world(np.argwhere(drawn.array).mean(axis=0))
    np.testing.assert_allclose(centroid, point_mm, atol=0.1)


def test_pasting_beside_the_volume_changes_nothing():
    scan = _ramp()
    far = scan.affine.copy()
    far[:3, 3] += 1000
    same = lesions.paste(Volume(np.ones((4, 4, 4), np.float32), far), scan)
    np.testing.assert_array_equal(same.array, scan.array)


@pytest.mark.parametrize(("hu", "stored"), [(10.7, 11), (-10.7, -11), (10.4, 10)])
def test_pasted_hu_are_rounded_to_the_integers_of_the_scan(hu, stored):
    scan = _ramp()
    crop, _ = lesions.cut(scan, scan.world((7, 11, 9)), (5, 5, 5))
    back = lesions.paste(Volume(np.full(crop.shape, hu, np.float32), crop.affine), scan)
    assert back.array[7, 11, 9] == stored


# --- measure ---


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
    scan = _ramp()
    mask = Volume(np.zeros(scan.shape, bool), scan.affine)
    start = np.array([4, 5, 6])
    mask.array[tuple(slice(a, a + n) for a, n in zip(start, side, strict=True))] = True
    found = lesions.measure(scan, mask)
    middle = start + (np.array(side) - 1) / 2
    assert found.diameter_mm == pytest.approx(diameter_mm)
    assert found.volume_mm3 == pytest.approx(np.prod(side) * np.prod(SPACING_MM))
    assert found.mean_hu == pytest.approx(_value(middle))
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


def test_the_box_may_touch_every_side_of_the_scan():
    mask = np.zeros((5, 6, 7), bool)
    mask[0, 5, 3] = mask[4, 0, 0] = mask[2, 2, 6] = True
    assert lesions.bounding_box(mask) == (slice(0, 5), slice(0, 6), slice(0, 7))


def test_components_touch_by_faces_edges_or_corners():
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[1, 1, 2] = True  # by a corner, then a face
    mask[4, 4, 4] = mask[4, 5, 5] = True  # by an edge
    for connectivity, count in ((26, 2), (18, 3), (6, 4)):
        labels = lesions.components(mask, connectivity)
        expected, _ = ndimage.label(
            mask, ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
        )
        assert labels.max() == count
        # The same parts, whatever their numbers.
        assert len(np.unique(np.stack([labels[mask], expected[mask]]), axis=1).T) == count
    np.testing.assert_array_equal(lesions.components(mask), lesions.components(mask, 26))
    assert not lesions.components(mask)[~mask].any()


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

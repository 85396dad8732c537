"""Lesions cut out and pasted back, against closed forms in mm."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from tests.ramps import ramp, tilted_affine, value

# --- cut ---


@pytest.mark.parametrize("size", [(5, 7, 9), (6, 8, 4), (5, 8, 1)])
@pytest.mark.parametrize("spacing_mm", [1.0, 0.6])
def test_the_point_lies_at_the_middle_of_the_crop(size, spacing_mm):
    scan = ramp()
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
    expected = value(scan.index(crop.world(places)))
    np.testing.assert_allclose(crop.array, expected, atol=1e-2)


def test_a_crop_may_have_another_spacing_along_each_axis():
    scan = ramp()
    spacing_mm = np.array([2.5, 1.0, 1.2])
    crop, _ = lesions.cut(scan, scan.world((7.3, 11.9, 9.2)), (5, 7, 6), spacing_mm)
    np.testing.assert_allclose(crop.spacing_mm, spacing_mm)
    places = np.moveaxis(np.indices(crop.shape), 0, -1)
    expected = value(scan.index(crop.world(places)))
    np.testing.assert_allclose(crop.array, expected, atol=1e-2)


@pytest.mark.parametrize("center", [(0, 0, 0), (15, 23, 19), (0.4, 12, 18.7), (-0.5, 23.5, 3)])
@pytest.mark.parametrize("fill", ["edge", -1000.0])
def test_the_extent_is_where_the_scan_is_and_the_rest_is_filled(center, fill):
    scan = ramp()
    size = (11, 12, 13)
    crop, extent = lesions.cut(scan, scan.world(center), size, fill=fill)
    index = scan.index(crop.world(np.moveaxis(np.indices(size), 0, -1)))  # [D, H, W, 3]
    within = ((index >= -0.5 - 1e-3) & (index <= np.array(scan.shape) - 0.5 + 1e-3)).all(axis=-1)
    told = np.zeros(size, bool)
    told[tuple(slice(start, stop) for start, stop in extent)] = True
    np.testing.assert_array_equal(told, within)
    assert not within.all()
    edge = value(np.clip(index, 0, np.array(scan.shape) - 1))
    expected = np.where(within, edge, edge if fill == "edge" else fill)
    np.testing.assert_allclose(crop.array, expected, atol=1e-2)


def test_a_mask_has_nothing_beyond_its_scan():
    mask = Volume(np.ones((6, 6, 6), bool), tilted_affine())
    crop, extent = lesions.cut(mask, mask.world((0, 3, 5)), (9, 9, 9), kind="mask")
    assert crop.array.dtype == bool
    told = np.zeros(crop.shape, bool)
    told[tuple(slice(start, stop) for start, stop in extent)] = True
    np.testing.assert_array_equal(crop.array, told)


def test_a_scan_smaller_than_the_crop_lies_inside_it():
    scan = ramp((3, 4, 5), tilted_affine((1, 1, 1)))
    crop, extent = lesions.cut(scan, scan.world((1, 1.5, 2)), (9, 10, 11))
    assert extent.tolist() == [[3, 6], [3, 7], [3, 8]]
    np.testing.assert_allclose(crop.array[3:6, 3:7, 3:8], scan.array, atol=1e-2)


@pytest.mark.parametrize(
    "center", [(-0.6, 5, 5), (5, 24, 5), (5, 5, 1e6), (np.nan, 5, 5), (5, 5, -300)]
)
@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_lesion_outside_the_scan_is_refused(center, kind):
    scan = ramp()
    with pytest.raises(InputError, match="outside the scan"):
        lesions.cut(scan, scan.world(center), (24, 24, 24), kind=kind)


def test_a_whole_ct_is_not_copied_for_one_lesion():
    scan = Volume(np.zeros((300, 512, 512), np.int16), tilted_affine((1.25, 0.7, 0.7)))
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
    scan = ramp(affine=tilted_affine((1, 1, 1)))
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
    mask = Volume(array, tilted_affine((1, 1, 1)))
    crop, _ = lesions.cut(mask, mask.world((6, 6, 7)), (13, 13, 15), kind="mask")
    blank = Volume(np.zeros(array.shape, bool), mask.affine)
    np.testing.assert_array_equal(lesions.paste(crop, blank, kind="mask").array, array)


def test_a_mask_drawn_at_1_mm_keeps_place_and_volume_on_the_grid_of_the_scan():
    scan = Volume(np.zeros((30, 60, 60), np.int16), tilted_affine((1.25, 0.6, 0.6)))
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
    scan = ramp()
    far = scan.affine.copy()
    far[:3, 3] += 1000
    same = lesions.paste(Volume(np.ones((4, 4, 4), np.float32), far), scan)
    np.testing.assert_array_equal(same.array, scan.array)


@pytest.mark.parametrize(("hu", "stored"), [(10.7, 11), (-10.7, -11), (10.4, 10)])
def test_pasted_hu_are_rounded_to_the_integers_of_the_scan(hu, stored):
    scan = ramp()
    crop, _ = lesions.cut(scan, scan.world((7, 11, 9)), (5, 5, 5))
    back = lesions.paste(Volume(np.full(crop.shape, hu, np.float32), crop.affine), scan)
    assert back.array[7, 11, 9] == stored


# --- measure ---


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

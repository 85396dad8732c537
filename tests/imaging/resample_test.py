"""Resampling keeps the field of view, the world positions and the labels."""

import numpy as np
import pytest

from dtc_jax.imaging.resample import onto, resample, resample_mask
from dtc_jax.imaging.volume import Volume

AFFINE = np.array(
    [[0.1, 0.2, 0.68, -30], [0.1, 0.66, -0.2, 12], [2.48, -0.15, -0.05, 7], [0, 0, 0, 1.0]]
)


def _ramp(shape):
    """Linear in the world: what is interpolated linearly stays so."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    world = Volume(np.zeros(shape), AFFINE).world(index)  # [Z, Y, X, 3]
    return Volume((world @ [5.0, -3.0, 2.0]).astype(np.float32), AFFINE)


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 2.0])
def test_a_ramp_in_the_world_stays_the_same_ramp(spacing_mm):
    scan = _ramp((12, 40, 44))
    resampled = resample(scan, spacing_mm)
    np.testing.assert_allclose(resampled.spacing_mm, spacing_mm)
    reach = np.array(scan.shape) * scan.spacing_mm
    assert np.abs(np.array(resampled.shape) * spacing_mm - reach).max() <= spacing_mm / 2 + 1e-9
    middle = [(np.array(one.shape) - 1) / 2 for one in (scan, resampled)]
    np.testing.assert_allclose(scan.world(middle[0]), resampled.world(middle[1]))
    index = np.moveaxis(np.indices(resampled.shape), 0, -1)
    source = scan.index(resampled.world(index))
    inside = ((source >= 0) & (source <= np.array(scan.shape) - 1)).all(axis=-1)
    expected = resampled.world(index) @ [5.0, -3.0, 2.0]
    np.testing.assert_allclose(resampled.array[inside], expected[inside], atol=1e-3)


def test_its_own_spacing_changes_nothing():
    hu = np.random.default_rng(0).integers(-1000, 400, (6, 7, 8), dtype=np.int16)
    scan = Volume(hu, np.diag([2.0, 2.0, 2.0, 1.0]))
    np.testing.assert_array_equal(resample(scan, 2.0).array, hu)
    np.testing.assert_array_equal(resample_mask(scan, 2.0).array, hu * (hu > 0))


def test_back_on_the_own_grid_a_ramp_is_the_same_and_goes_on_at_the_edge():
    scan = _ramp((12, 40, 44))
    back = onto(resample(scan, 4.0), scan)
    assert back.shape == scan.shape
    np.testing.assert_array_equal(back.affine, scan.affine)
    # Inside the outermost samples, which lie 2 mm within the edge, linear stays linear.
    inner = (slice(1, -1), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(back.array[inner], scan.array[inner], atol=1e-3)
    np.testing.assert_array_equal(back.array[:, :, 0], back.array[:, :, 1])


def test_a_mask_comes_back_as_it_was_where_it_is_larger_than_a_voxel():
    mask = Volume(np.zeros((12, 40, 44), bool), AFFINE)
    mask.array[3:9, 10:30, 12:] = True
    back = onto(resample_mask(mask, 0.25), mask)
    assert back.array.dtype == bool
    assert (back.array ^ mask.array).mean() < 0.001


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0])
def test_labels_are_neither_mixed_nor_lost(spacing_mm):
    labels = np.zeros((12, 40, 44), np.uint8)
    labels[2:6, 5:20, 5:20] = 1
    labels[2:6, 20:30, 5:20] = 9  # touches the first
    labels[8:12, 30:40, 30:44] = 4  # at the scan's corner
    resampled = resample_mask(Volume(labels, AFFINE), spacing_mm).array
    assert resampled.dtype == np.uint8
    assert set(np.unique(resampled)) == {0, 1, 4, 9}
    voxel_mm3 = np.prod(np.linalg.norm(AFFINE[:3, :3], axis=0))
    for label in (1, 4, 9):
        before_mm3 = (labels == label).sum() * voxel_mm3
        after_mm3 = (resampled == label).sum() * spacing_mm**3
        assert after_mm3 == pytest.approx(before_mm3, rel=0.1)


def test_a_mask_stays_a_mask():
    mask = np.zeros((6, 9, 9), bool)
    mask[2:4, 3:6, 3:6] = True
    resampled = resample_mask(Volume(mask, AFFINE))
    assert resampled.array.dtype == bool
    assert resampled.array.any()


@pytest.mark.parametrize("spacing_mm", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("how", [resample, resample_mask])
def test_a_ball_keeps_its_place_and_volume(how, spacing_mm):
    scan = Volume(np.zeros((12, 40, 44)), AFFINE)
    away_mm = scan.world(np.moveaxis(np.indices(scan.shape), 0, -1)) - scan.world((5.3, 17.6, 21.9))
    ball = Volume((away_mm**2).sum(axis=-1) <= 9.0**2, AFFINE)
    found = how(ball, spacing_mm)
    place_mm, volume_mm3 = [], []
    for one in (ball, found):
        share = one.array[one.array > 0].astype(float)
        place_mm.append(np.average(one.world(np.argwhere(one.array)), axis=0, weights=share))
        volume_mm3.append(share.sum() * np.prod(one.spacing_mm))
    np.testing.assert_allclose(place_mm[1], place_mm[0], atol=0.1)
    assert volume_mm3[1] == pytest.approx(volume_mm3[0], rel=0.05)


def test_each_label_is_resampled_as_if_it_were_alone():
    labels = np.random.default_rng(0).integers(0, 4, (7, 9, 8)) * (np.indices((7, 9, 8))[2] > 2)
    found = resample_mask(Volume(labels.astype(np.int16), AFFINE), 0.9)
    shares = np.stack([resample(Volume(labels == one, AFFINE), 0.9).array for one in (1, 2, 3)])
    largest = shares.max(axis=0)
    expected = np.where(largest >= 0.5, shares.argmax(axis=0) + 1, 0)
    even = abs(largest - 0.5) < 1e-4  # rounding decides
    assert even.mean() < 0.05
    np.testing.assert_array_equal(found.array[~even], expected[~even])


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.7, 0.7), (3.3, 1.2, 2.0), (0.5, 2.5, 0.9)])
def test_a_mask_by_its_box_is_that_of_the_whole_grid(spacing_mm):
    rng = np.random.default_rng(0)
    grid = Volume(np.zeros((9, 11, 10), np.int16), np.diag([*spacing_mm, 1.0]))
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = rng.uniform(-3, 3, 3)
    shape = (8, 9, 12)
    masks = [np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.02]
    for corner in ((0, 0, 0), (7, 8, 11), (3, 0, 11), (4, 4, 5)):
        masks.append(np.zeros(shape, bool))
        masks[-1][corner] = True
    for mask in masks:
        by_box = onto(Volume(mask, affine), grid)
        whole = onto(Volume(mask.astype(np.float32), affine), grid)
        np.testing.assert_array_equal(by_box.array, whole.array >= 0.5)

"""The network's grid: it follows from the scan alone, and noise arrives on it as it should."""

import numpy as np
import pytest

from dtc_jax.imaging import grid, lesions
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.volume import Volume


def _noise(shape, spacing_mm, sigma_hu=30.0):
    hu = np.random.default_rng(0).normal(-600, sigma_hu, shape)
    return Volume(np.rint(hu).astype(np.int16), np.diag([*spacing_mm, 1.0]))


def _spec(spacing_mm, antialias="gaussian"):
    return Preprocess(spacing_mm=spacing_mm, grid="scan", antialias=antialias)


@pytest.mark.parametrize(
    ("spacing_mm", "antialias", "std_hu"),
    [(1.0, "gaussian", 14.1), (2.0, "gaussian", 4.06), (1.0, "none", 19.9), (2.0, "none", 14.1)],
)
def test_noise_of_a_window_is_that_of_the_whole_scan(spacing_mm, antialias, std_hu):
    seen = grid.to_grid(_noise((100, 150, 150), (1.0, 0.7, 0.7)), _spec(spacing_mm, antialias))
    assert seen.array.dtype == np.int16
    assert seen.array.std() == pytest.approx(std_hu, rel=0.02)
    middle = np.array(seen.shape) // 2
    for step in range(4):  # wherever the middle of a window lies
        window, _ = grid.window(seen.array, middle + step, (30, 30, 30))
        assert window.std() == pytest.approx(std_hu, rel=0.04)


@pytest.mark.parametrize("slices", [60, 61])
def test_noise_hardly_depends_on_where_new_voxels_lie_between_the_old(slices):
    """An even number of slices puts the new ones between two, an odd one upon one."""
    scan = _noise((slices, 120, 120), (1.0, 1.0, 1.0))
    std_hu = {a: grid.to_grid(scan, _spec(2.0, a)).array.std() for a in ("gaussian", "none")}
    assert std_hu["gaussian"] == pytest.approx(30 * (2 * np.sqrt(np.pi) * 0.841) ** -1.5, rel=0.02)
    even = slices % 2 == 0
    assert std_hu["none"] == pytest.approx(30 / np.sqrt(2) ** (3 if even else 2), rel=0.02)


def test_structures_smaller_than_the_new_voxels_do_not_alias():
    waves = 500 * np.cos(2 * np.pi * 0.45 * np.arange(120))  # a period of 2.2 mm, on 2 mm voxels
    scan = Volume(np.broadcast_to(waves, (20, 20, 120)).astype(np.int16), np.eye(4))
    left = {
        a: grid.to_grid(scan, _spec(2.0, a)).array[:, :, 5:-5].std() for a in ("gaussian", "none")
    }
    assert left["gaussian"] < 0.2 * scan.array.std()
    assert left["none"] > left["gaussian"]


def test_its_own_spacing_changes_no_voxel_and_large_values_stay_in_range():
    scan = _noise((9, 10, 11), (1.5, 1.5, 1.5))
    np.testing.assert_array_equal(grid.to_grid(scan, _spec(1.5)).array, scan.array)
    metal = Volume(np.full((4, 4, 4), 40000.0, np.float32), np.eye(4))
    assert (grid.to_grid(metal, _spec(1.0)).array == 2**15 - 1).all()


@pytest.mark.parametrize("size", [1, 5])
def test_a_lesion_smaller_than_a_voxel_of_the_grid_keeps_one(size):
    mask = Volume(np.zeros((40, 40, 40), np.uint8), np.eye(4))
    boxes = [tuple(slice(i, i + size) for i in (11, 17, 30)), tuple(slice(2, 4) for _ in range(3))]
    for number, box in enumerate(boxes, start=1):
        mask.array[box] = number
    seen = grid.lesions_to_grid(mask, _spec(8.0))
    assert seen.array.dtype == bool
    for box in boxes:
        assert seen.array[grid.nearest(seen, lesions.middle_mm(mask, box))]
    assert seen.array.sum() == len(boxes)


def test_a_small_lesion_keeps_a_voxel_beside_a_large_one():
    numbered = np.zeros((40, 40, 40), np.uint8)
    numbered[16:29, 16:29, 16:29], numbered[21, 21, 10] = 1, 2
    seen = grid.lesions_to_grid(Volume(numbered, np.eye(4)), _spec(4.0))
    alone = grid.lesions_to_grid(Volume((numbered == 1).astype(np.uint8), np.eye(4)), _spec(4.0))
    (added,) = np.argwhere(seen.array & ~alone.array)
    assert np.abs(seen.world(added) - np.array([21, 21, 10])).max() <= 2


def test_between_two_voxels_the_lower_is_the_nearest_whatever_rounding_does():
    affine = np.array([[0.1, 0.2, 0.68, -30], [0.1, 0.66, -0.2, 12], [2.48, -0.15, -0.05, 7]])
    volume = Volume(np.zeros((6, 7, 8)), np.vstack([affine, [0, 0, 0, 1]]))
    for index in ((2.5, 3.5, 4.5), (2.0, 3.2, 4.4), (1.6, 2.7, 3.8)):
        assert grid.nearest(volume, volume.world(index)) == (2, 3, 4)
    assert grid.nearest(volume, volume.world((-3, 9, 9))) == (0, 6, 7)


def test_a_window_goes_on_beyond_the_array_as_it_is_told():
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    found, extent = grid.window(array, (0, 2, 5), (4, 3, 5))
    np.testing.assert_array_equal(extent, [[1, 4], [0, 3], [0, 3]])
    np.testing.assert_array_equal(found[1:, :, :3], array[:3, 1:4, 3:])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[:, :, 4], found[:, :, 2])
    filled, _ = grid.window(array, (0, 2, 5), (4, 3, 5), fill=-1)
    np.testing.assert_array_equal(filled[1:, :, :3], found[1:, :, :3])
    assert (filled[0] == -1).all()
    assert (filled[:, :, 3:] == -1).all()

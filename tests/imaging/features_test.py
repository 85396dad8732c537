"""Features of bodies whose size, shape and HU are known."""

import numpy as np
import pytest

from dtc_jax.imaging import features

SHAPE = (20, 24, 24)


def _named(image, mask, extent=None) -> dict[str, float]:
    values = features.features(image, mask, extent)
    return dict(zip(features.FEATURES, values, strict=True))


def _ball(center=(9, 11, 12), radius=5.0) -> np.ndarray:
    apart = np.indices(SHAPE) - np.reshape(center, (3, 1, 1, 1))
    return (apart**2).sum(axis=0) <= radius**2


def _texture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-200.0, 300.0, SHAPE)


def test_there_is_one_number_for_each_name():
    values = features.features(_texture(), _ball())
    assert values.shape == (len(features.FEATURES),)
    assert values.dtype == np.float64
    assert all(features.FEATURES.values())


@pytest.mark.parametrize("corner", [(0, 0, 0), (19, 23, 23), (7, 8, 9)])
def test_a_lesion_of_one_voxel_has_finite_features(corner):
    mask = np.zeros(SHAPE, np.uint8)
    mask[corner] = 1
    one = _named(_texture(), mask)
    assert np.isfinite(list(one.values())).all()
    assert one["log_volume"] == 0
    assert one["diameter_mm"] == pytest.approx(np.sqrt(2))
    assert one["hu_sd"] == 0


@pytest.mark.parametrize("side", [(1, 1, 7), (1, 5, 5), (6, 1, 1)])
def test_flat_and_thin_lesions_have_finite_features(side):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(4, 4 + n) for n in side)] = True
    for image in (_texture(), np.full(SHAPE, 37, np.int16)):
        assert np.isfinite(features.features(image, mask)).all()


def test_a_full_crop_has_no_rim_and_is_finite():
    assert np.isfinite(features.features(_texture(), np.ones(SHAPE, bool))).all()


def test_the_sides_and_axes_of_a_box_have_their_closed_forms():
    mask = np.zeros(SHAPE, bool)
    mask[3:7, 5:15, 6:12] = True  # 4 × 10 × 6 mm
    one = _named(_texture(), mask)
    assert [one[f"extent_{axis}_mm"] for axis in "zyx"] == [4, 10, 6]
    assert one["log_volume"] == pytest.approx(np.log(240))
    assert one["diameter_mm"] == pytest.approx(np.hypot(10, 6))
    # The standard deviation of a uniform distribution on a length L is L / sqrt(12).
    axes = [one[f"axis_{name}_mm"] for name in ("major", "middle", "minor")]
    assert axes == pytest.approx(np.array([10, 6, 4]) / np.sqrt(12))


def test_the_hu_inside_on_the_surface_and_around_are_told_apart():
    mask = np.zeros(SHAPE, bool)
    mask[8:11, 8:11, 8:11] = True  # 27 voxels, one of them not at the surface
    image = np.full(SHAPE, -800.0)
    image[mask] = -100.0
    image[9, 9, 9] = 500.0
    one = _named(image, mask)
    assert one["surface_hu"] == -100
    assert one["rim_hu"] == -800
    assert one["hu_max"] == 500
    assert one["hu_p50"] == -100
    assert one["hu_mean"] == pytest.approx((26 * -100 + 500) / 27)
    assert one["calcified_share"] == pytest.approx(1 / 27)
    assert one["solid_share"] == 1


def test_moving_the_lesion_with_its_surroundings_changes_nothing():
    image, mask = _texture(), _ball()
    shift = (2, -3, 4)
    moved = features.features(np.roll(image, shift, (0, 1, 2)), np.roll(mask, shift, (0, 1, 2)))
    np.testing.assert_allclose(moved, features.features(image, mask), rtol=1e-9)


def test_mirroring_a_lesion_changes_nothing():
    image, mask = _texture(), _ball(center=(9, 9, 12)) | _ball(center=(9, 14, 12), radius=3)
    mirrored = features.features(image[::-1, ::-1, ::-1], mask[::-1, ::-1, ::-1])
    np.testing.assert_allclose(mirrored, features.features(image, mask), rtol=1e-9)


def test_the_padding_beyond_the_scan_is_not_measured():
    image, mask = _texture(), _ball()
    extent = np.array([[0, 15], [0, 24], [4, 24]])  # the ball ends at z = 14: its rim at 15
    padded = image.copy()
    padded[15:] = padded[:, :, :4] = 3000.0
    within = features.features(padded, mask, extent)
    np.testing.assert_array_equal(within, features.features(image, mask, extent))
    assert _named(padded, mask)["rim_hu"] > _named(image, mask)["rim_hu"]  # without the extent


def test_the_dtype_of_a_record_gives_what_floats_give():
    image = _texture().round()
    mask = _ball()
    stored = features.features(image.astype(np.int16), mask.astype(np.uint8))
    np.testing.assert_array_equal(stored, features.features(image, mask))

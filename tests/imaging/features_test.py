"""The hand-made features: closed forms on bodies of known shape, and no look at the padding."""

import numpy as np
import pytest
from scipy import stats

from dtc_jax.imaging.features import FEATURES, features

SHAPE = (48, 72, 72)
WHOLE = np.array([[0, n] for n in SHAPE])


def _named(image, mask, extent=None):
    return dict(zip(FEATURES, features(image, mask, extent), strict=True))


def _offsets():
    return np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")


def _noise(seed=0):
    return np.random.default_rng(seed).integers(-1000, 400, SHAPE, dtype=np.int16)


def test_an_ellipsoid_has_its_axes():
    z, y, x = _offsets()
    half = 8.0, 10.0, 20.0
    mask = (z / half[0]) ** 2 + (y / half[1]) ** 2 + (x / half[2]) ** 2 <= 1
    found = _named(np.full(SHAPE, 30, np.int16), mask)
    assert np.exp(found["log_volume"]) == pytest.approx(4 / 3 * np.pi * np.prod(half), rel=0.02)
    assert found["diameter_mm"] == pytest.approx(40, abs=1)
    assert [found[f"extent_{axis}_mm"] for axis in "zyx"] == [16, 20, 40]
    axes = [found[f"axis_{rank}_mm"] for rank in ("major", "middle", "minor")]
    np.testing.assert_allclose(axes, np.array(half[::-1]) / np.sqrt(5), rtol=0.02)
    assert found["hu_mean"] == 30
    assert found["hu_sd"] == found["hu_skewness"] == 0


def test_a_box_has_its_sides_and_axes():
    mask = np.zeros(SHAPE, bool)
    mask[3:7, 5:15, 6:12] = True  # 4 × 10 × 6 mm
    found = _named(_noise(), mask)
    assert found["log_volume"] == pytest.approx(np.log(240))
    assert [found[f"extent_{axis}_mm"] for axis in "zyx"] == [4, 10, 6]
    assert found["diameter_mm"] == pytest.approx(np.hypot(10, 6))
    # The standard deviation of a uniform distribution on a length L is L / sqrt(12).
    axes = [found[f"axis_{rank}_mm"] for rank in ("major", "middle", "minor")]
    assert axes == pytest.approx(np.array([10, 6, 4]) / np.sqrt(12))


def test_hu_are_read_inside_on_and_around_the_lesion():
    z, y, x = _offsets()
    away = np.sqrt(z**2 + y**2 + x**2)
    mask = away < 8
    image = _noise()
    image[away < 6] = np.random.default_rng(1).normal(50, 120, (away < 6).sum()).astype(np.int16)
    image[(away >= 6.2) & mask] = -100
    image[~mask] = -850
    found, inside = _named(image, mask), image[mask].astype(float)
    assert found["rim_hu"] == -850
    assert found["surface_hu"] == pytest.approx(-100, abs=1)
    assert found["hu_max"] == inside.max()
    assert found["hu_skewness"] == pytest.approx(stats.skew(inside))
    assert [found[f"hu_p{p}"] for p in (10, 50, 90)] == np.percentile(inside, [10, 50, 90]).tolist()
    assert found["calcified_share"] == np.mean(inside > 200)
    assert found["solid_share"] == np.mean(inside > -300)


def test_a_rough_surface_is_told_from_a_smooth_one():
    z, y, x = _offsets()
    ball = z**2 + y**2 + x**2 <= 100
    rough = ball & (np.random.default_rng(0).random(SHAPE) < 0.85)
    ratio = [_named(_noise(), mask)["surface_ratio"] for mask in (ball, rough)]
    assert ratio[1] > 1.3 * ratio[0]


def test_padding_is_never_read():
    mask = np.zeros(SHAPE, bool)
    mask[20:26, 30:40, 30:40] = True  # ends where the scan ends, below and above
    extent = np.array([[20, 26], [20, 50], [20, 50]])
    image, other = _noise(), _noise()
    outside = np.ones(SHAPE, bool)
    outside[tuple(slice(*ends) for ends in extent)] = False
    other[outside] = 3000
    np.testing.assert_array_equal(features(image, mask, extent), features(other, mask, extent))
    assert not np.array_equal(features(image, mask, WHOLE), features(other, mask, WHOLE))


def test_the_place_and_handedness_of_a_lesion_change_nothing():
    z, y, x = _offsets()
    mask = (z**2 + y**2 + x**2 <= 36) | (np.maximum(abs(z - 2), abs(y - 7)) + abs(x) <= 3)
    image = _noise()
    expected = features(image, mask)
    shift = (5, -9, 12)
    moved = features(np.roll(image, shift, (0, 1, 2)), np.roll(mask, shift, (0, 1, 2)))
    np.testing.assert_allclose(moved, expected, rtol=1e-9)
    mirrored = features(image[::-1, :, ::-1], mask[::-1, :, ::-1])
    np.testing.assert_allclose(mirrored, expected, rtol=1e-9)


@pytest.mark.parametrize("sides", [(1, 1, 1), (1, 1, 2), (1, 1, 7), (1, 5, 5), (48, 72, 72)])
def test_every_feature_is_finite(sides):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(side) for side in sides)] = 1
    for image in (_noise(), np.zeros(SHAPE, np.int16)):
        found = features(image, mask, WHOLE)
        assert found.shape == (len(FEATURES),)
        assert np.isfinite(found).all()

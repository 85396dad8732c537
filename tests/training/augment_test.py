"""Augmentation read back from ramps: trilinear sampling of a ramp gives the sampled position."""

import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.imaging import preprocess
from tests.training.augmented import KEYS, SIDES, SPEC, WHOLE, Strength, augmented, record, variants


def _transforms(strength):
    """Matrix [K, 3, 3] and centre [K, 3] of the drawn transforms, from three ramps and a fit."""
    positions = []
    for axis, n in enumerate(SIDES):
        shape = [n if a == axis else 1 for a in range(3)]
        ramp = np.broadcast_to(np.arange(n).reshape(shape), SIDES)
        stripes = np.uint8(ramp % 2)
        shown, region = augmented(100 * stripes.astype(np.int16), stripes, strength)
        np.testing.assert_allclose(shown / 100, region, atol=1e-4)  # image and mask move together
        hu, _ = augmented(np.int16(100 * ramp), stripes, strength)
        positions.append(hu.reshape(len(KEYS), -1) / 100)
    offsets = np.stack(
        np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SPEC.shape), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    design = np.column_stack([offsets, np.ones(len(offsets))])
    fits = [np.linalg.lstsq(design, p.T, rcond=None)[0] for p in positions]  # 3 × [4, K]
    for fit, p in zip(fits, positions, strict=True):
        np.testing.assert_allclose(design @ fit, p.T, atol=1e-3)  # the transform is affine
    fits = np.stack(fits)  # [3, 4, K]
    return fits[:, :3].transpose(2, 0, 1), fits[:, 3].T


@pytest.mark.parametrize(
    ("crop_mm", "spacing_mm", "grid"),
    [
        *(((10, 12, 14), 1.0, "lesion"), ((11, 12, 13), 1.0, "lesion")),
        *(((12, 18, 24), 1.5, "lesion"), ((40, 40, 40), 1.0, "lesion")),
        *(((11, 12, 13), 1.0, "scan"), ((20, 22, 26), 2.0, "scan")),
    ],
)
def test_without_strength_it_is_the_crop_of_preprocess(crop_mm, spacing_mm, grid):
    image, mask = record()
    spec = preprocess.Preprocess(crop_mm=crop_mm, spacing_mm=spacing_mm, grid=grid)
    hu, region = augmented(image, mask, Strength(), spec=spec, keys=KEYS[:1])
    expected = preprocess.crop(image, spec, np)
    np.testing.assert_allclose(hu[0], expected, rtol=1e-4, atol=1e-3)
    expected = preprocess.crop(mask, spec, np, edge=False)
    np.testing.assert_allclose(region[0], expected, atol=1e-4)


def test_flips_mirror_the_crop_along_their_axes():
    image, mask = record()
    hu, region = augmented(image, mask, Strength(flip=(1.0, 0.0, 1.0)), keys=KEYS[:1])
    for got, stored in ((hu[0], image), (region[0], mask)):
        crop = preprocess.crop(stored, SPEC, np)
        np.testing.assert_allclose(got, crop[::-1, :, ::-1], atol=1e-3)
    matrix, _ = _transforms(Strength(flip=(0.5, 0.5, 0.0)))
    signs = np.sign(np.diagonal(matrix, axis1=1, axis2=2))
    assert len(np.unique(signs, axis=0)) == 4
    assert (signs[:, 2] == 1).all()


def test_shifts_are_even_over_their_range_and_apart_by_axis():
    matrix, center = _transforms(Strength(shift_mm=4.0))
    shift = center - (np.array(SIDES) - 1) / 2
    np.testing.assert_allclose(matrix, np.broadcast_to(np.eye(3), matrix.shape), atol=1e-3)
    assert np.abs(shift).max() <= 4.001
    assert (shift.min(axis=0) < -3).all()
    assert (shift.max(axis=0) > 3).all()
    assert np.abs(np.corrcoef(shift.T) - np.eye(3)).max() < 0.5


def test_zoom_is_the_same_along_all_axes_and_either_way():
    matrix, center = _transforms(Strength(scale=0.2))
    zoom = matrix[:, 0, 0]
    np.testing.assert_allclose(matrix, zoom[:, None, None] * np.eye(3), atol=1e-3)
    np.testing.assert_allclose(center, np.broadcast_to((np.array(SIDES) - 1) / 2, center.shape))
    assert 0.15 < np.log(zoom).max() <= 0.2001
    assert -0.2001 <= np.log(zoom).min() < -0.15


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rotation_turns_about_its_axis_within_its_range(axis):
    largest = np.where(np.arange(3) == axis, 20.0, 0.0)
    matrix, _ = _transforms(Strength(rotate_deg=tuple(largest)))
    i, j = (other for other in range(3) if other != axis)
    angle = np.rad2deg(np.arctan2(matrix[:, j, i], matrix[:, i, i]))
    np.testing.assert_allclose(
        matrix @ matrix.transpose(0, 2, 1), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-3
    )
    np.testing.assert_allclose(
        matrix[:, axis], np.broadcast_to(np.eye(3)[axis], (64, 3)), atol=1e-3
    )
    assert 15 < angle.max() <= 20.01
    assert -20.01 <= angle.min() < -15


def test_everything_together_is_a_similarity():
    matrix, _ = _transforms(Strength((0.5, 0.5, 0.5), (10.0, 10.0, 10.0), shift_mm=1.0, scale=0.1))
    zoom = np.abs(np.linalg.det(matrix)) ** (1 / 3)
    gram = matrix.transpose(0, 2, 1) @ matrix
    np.testing.assert_allclose(gram, zoom[:, None, None] ** 2 * np.eye(3), atol=2e-3)


def test_jitter_is_affine_in_hu_about_air_and_leaves_the_mask_alone():
    image, mask = record()
    plain, plain_mask = augmented(image, mask, Strength(), keys=KEYS[:1])
    hu, region = augmented(image, mask, Strength(hu_shift=30.0, hu_scale=0.1))
    np.testing.assert_array_equal(region, np.broadcast_to(plain_mask, region.shape))
    fits = np.array([np.polyfit(plain.ravel() + 1000, x.ravel() + 1000, 1) for x in hu])  # [K, 2]
    contrast, shift = fits.T
    np.testing.assert_allclose(
        hu + 1000, contrast[:, None, None, None] * (plain + 1000) + shift[:, None, None, None],
        atol=0.05,
    )  # fmt: skip
    assert 0.07 < np.abs(contrast - 1).max() <= 0.1001
    assert 20 < np.abs(shift).max() <= 30.01


def test_noise_is_white_and_gaussian_with_a_level_up_to_its_strength():
    image, mask = record()
    plain, _ = augmented(image, mask, Strength(), keys=KEYS[:1])
    hu, _ = augmented(image, mask, Strength(noise_hu=25.0))
    noise = hu - plain  # [K, D, H, W]
    level = noise.std(axis=(1, 2, 3))
    assert 20 < level.max() <= 26
    assert level.min() < 3
    unit = noise / level[:, None, None, None]
    assert abs(unit.mean()) < 0.01
    assert abs((unit**4).mean() - 3) < 0.1
    assert abs((unit[..., 1:] * unit[..., :-1]).mean()) < 0.01


def test_the_scan_seems_to_end_between_the_lesion_and_its_real_end():
    ramp = np.broadcast_to(100 * np.arange(30, dtype=np.int16).reshape(30, 1, 1), SIDES)
    mask = np.zeros(SIDES, np.uint8)
    mask[13:16, 13:20, 14:21] = 1
    extent = jnp.array([[4, 27], [0, 32], [0, 34]], jnp.int32)
    spec = preprocess.Preprocess(crop_mm=(30, 4, 4))
    hu, region = augmented(ramp, mask, Strength(visible_extent=(1.0, 1.0, 1.0)), extent, spec)
    column = hu[:, :, 2, 2] / 100  # [K, 30]
    first, last = column[:, 0], column[:, -1]
    for ends, low, high in ((first, 4, 13), (last, 15, 26)):
        assert low <= ends.min() < low + 1
        assert high - 1 < ends.max() <= high
    expected = np.clip(np.arange(30), first[:, None], last[:, None])
    np.testing.assert_allclose(column, expected, atol=1e-4)  # edges replicated, nothing else
    crop = preprocess.crop(mask, spec, np, edge=False)
    np.testing.assert_array_equal(region, np.broadcast_to(crop, region.shape))


def test_half_the_scans_keep_their_extent_at_probability_one_half():
    ramp = np.broadcast_to(100 * np.arange(30, dtype=np.int16).reshape(30, 1, 1), SIDES)
    _, mask = record()
    spec = preprocess.Preprocess(crop_mm=(30, 4, 4))
    hu, _ = augmented(ramp, mask, Strength(visible_extent=(0.5, 0.5, 0.5)), spec=spec)
    kept = (hu[:, 0, 2, 2] == 0) & (hu[:, -1, 2, 2] == 2900)
    assert 20 < kept.sum() < 44  # of 64


def test_an_axis_without_the_chance_keeps_its_ends():
    ramp = np.broadcast_to(100 * np.arange(32, dtype=np.int16).reshape(1, 32, 1), SIDES)
    _, mask = record()
    spec = preprocess.Preprocess(crop_mm=(4, 32, 4))
    hu, _ = augmented(ramp, mask, Strength(visible_extent=(1.0, 0.0, 1.0)), spec=spec)
    np.testing.assert_array_equal(hu[:, 2, :, 2], np.tile(ramp[0, :, 0], (64, 1)))


@pytest.mark.parametrize("tight", [True, False])
def test_there_is_nothing_to_hide_in_a_tight_box_or_without_a_mask(tight):
    image, _ = record()
    mask = np.full(SIDES, int(tight), np.uint8)
    hu, _ = augmented(image, mask, Strength(visible_extent=(1.0, 1.0, 1.0)), keys=KEYS[:4])
    crop = preprocess.crop(image, SPEC, np)
    np.testing.assert_allclose(hu, np.broadcast_to(crop, hu.shape), atol=1e-3)


def test_a_variant_depends_on_its_own_key_alone():
    image, mask = record()
    strength = Strength(
        (0.5, 0.5, 0.5),
        *((15.0, 0.0, 0.0), 2.0, 0.1, 1.0, "sharp", 20.0, 0.05, 20.0, (0.5, 0.0, 0.0)),
    )
    some, _ = augmented(image, mask, strength, keys=KEYS[:4])
    others, _ = augmented(image, mask, strength, keys=KEYS[jnp.array([9, 2, 8, 7])])
    np.testing.assert_allclose(some[2], others[1], atol=1e-3)
    assert np.abs(some[2] - some[1]).max() > 1


def test_shifts_are_in_millimetres_on_any_grid():
    ramp = np.broadcast_to(100 * np.arange(SIDES[0]).reshape(-1, 1, 1), SIDES).astype(np.int16)
    moved = {}
    for spacing_mm in (1.0, 2.0):
        spec = preprocess.Preprocess((8 * spacing_mm,) * 3, spacing_mm, grid="scan")
        hu, _ = augmented(ramp, np.zeros(SIDES, np.uint8), Strength(shift_mm=4.0), spec=spec)
        moved[spacing_mm] = (hu.mean(axis=(1, 2, 3)) / 100 - 14.5) * spacing_mm
    np.testing.assert_allclose(moved[1.0], moved[2.0], atol=1e-2)
    assert 3 < np.abs(moved[1.0]).max() <= 4.01


def test_what_is_ignored_moves_along_and_is_no_lesion():
    image, mask = record()
    marked = np.where(mask == 1, np.uint8(1), np.uint8(0))
    marked[:, :, SIDES[2] // 2 + 1] = preprocess.IGNORED
    strength = Strength(flip=(0.0, 0.0, 1.0))
    extent = jnp.asarray(WHOLE)
    _, region, ignored, _ = variants(
        KEYS[:1], jnp.asarray(image), jnp.asarray(marked), extent, SPEC, strength
    )
    _, plain = augmented(image, np.uint8(marked == 1), strength, keys=KEYS[:1])
    np.testing.assert_array_equal(region, plain)
    _, moved = augmented(image, np.uint8(marked == preprocess.IGNORED), strength, keys=KEYS[:1])
    np.testing.assert_array_equal(ignored, moved > 0.5)
    assert moved.any()


def test_what_lies_inside_the_scan_moves_along():
    image, _ = record()
    extent = np.array([[3, SIDES[0]], [0, 20], [5, 30]])
    within = np.zeros(SIDES, np.uint8)
    within[tuple(slice(a, b) for a, b in extent)] = 1
    strength = Strength(flip=(0.5, 0.5, 0.5), shift_mm=3.0)
    found = variants(
        KEYS, jnp.asarray(image), jnp.asarray(within), jnp.asarray(extent), SPEC, strength
    )
    np.testing.assert_array_equal(found.inside, found.mask > 0.5)
    assert 0 < np.asarray(found.inside).mean() < 1

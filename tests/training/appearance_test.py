"""Kernels, noise and hidden boxes against NumPy and SciPy, and against what they promise."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from configs import common, senet
from dtc_jax.errors import UsageError
from dtc_jax.training import appearance, augment, elastic
from tests.training.augmented import KEYS, SPEC, WHOLE, Strength, augmented

SPACING_MM = 0.8
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def hu():
    return jax.random.normal(KEY, (4, 21, 24)) * 100.0


@pytest.mark.parametrize("draw", [0.0, 0.25])
def test_a_softer_kernel_is_a_gaussian_within_the_plane(hu, draw):
    got = appearance.kernel(jnp.float32(draw), hu, 1.2, 0.0, SPACING_MM)
    sigma = (1 - 2 * draw) * 1.2 / SPACING_MM
    wanted = ndimage.gaussian_filter(np.asarray(hu), (0, sigma, sigma), truncate=8.0)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(got[inside], wanted[inside], atol=0.02)


def test_a_sharper_kernel_adds_what_a_gaussian_takes_away(hu):
    got = appearance.kernel(jnp.float32(0.75), hu, 0.0, 0.8, SPACING_MM)
    soft = appearance.kernel(jnp.float32(0.0), hu, 1.0, 0.0, SPACING_MM)
    np.testing.assert_allclose(got, hu + 0.4 * (hu - soft), rtol=1e-4, atol=1e-3)


def test_no_kernel_moves_an_even_field():
    even = jnp.full((3, 9, 9), -850.0)
    for draw in (0.0, 0.5, 0.99):
        got = appearance.kernel(jnp.float32(draw), even, 2.0, 1.0, SPACING_MM)
        np.testing.assert_allclose(got, even, rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 64, 64), (8, 61, 48)])
def test_the_noise_of_a_ct_has_its_power_spectrum_and_variance_one(shape):
    draws = jax.vmap(lambda key: appearance.noise(key, shape, 0.5, SPACING_MM))(
        jax.random.split(KEY, 64)
    )
    draws = np.asarray(draws).reshape(-1, *shape[1:])
    assert draws.std() == pytest.approx(1.0, abs=0.01)
    power = np.mean(np.abs(np.fft.fft2(draws)) ** 2, axis=0)
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, SPACING_MM) for n in shape[1:]), indexing="ij"))
    wanted = f * np.exp(-4 * (np.pi * 0.5 * f) ** 2)
    seen = wanted > 0.2 * wanted.max()
    ratio = power[seen] / wanted[seen]
    assert np.std(ratio / ratio.mean()) < 0.08  # of 512 slices: about 1 / sqrt(512)
    assert power[0, 0] < 1e-3 * power.max()  # nothing that is even over the slice


def test_white_noise_is_that_of_jax():
    np.testing.assert_array_equal(
        appearance.noise(KEY, (2, 5, 6), 0.0, 1.0), jax.random.normal(KEY, (2, 5, 6))
    )


def test_a_cutout_is_a_box_of_the_mean_and_as_frequent_as_stated():
    field = jnp.arange(10 * 11 * 12, dtype=jnp.float32).reshape(10, 11, 12)
    keys = jax.random.split(KEY, 400)
    got = jax.vmap(lambda key: appearance.cutout(key, field, 0.5, 4.0, SPACING_MM))(keys)
    hidden = np.asarray(got) != np.asarray(field)
    assert 0.3 < hidden.any(axis=(1, 2, 3)).mean() < 0.55  # some boxes are smaller than a voxel
    np.testing.assert_allclose(got[hidden], field.mean(), rtol=1e-6)
    for one in hidden[hidden.any(axis=(1, 2, 3))]:
        where = np.argwhere(one)
        sides = where.max(axis=0) - where.min(axis=0) + 1
        assert np.prod(sides) == len(where)  # a whole box
        assert sides.max() <= 5  # 4 mm are 5 voxels of 0.8 mm
    assert hidden.any(axis=0).mean() > 0.7  # anywhere


def test_displacements_are_smooth_within_their_limit_and_use_it():
    moved = np.stack(
        [elastic.displacement(key, (33, 32, 40), 2.0, 1.0) for key in jax.random.split(KEY, 20)]
    )
    assert moved.shape == (20, 3, 33, 32, 40)
    assert 1.0 < np.abs(moved).max() <= 2.0
    assert np.abs(moved.mean(axis=(0, 2, 3, 4))).max() < 0.2
    steps = max(np.abs(np.diff(moved, axis=axis)).max() for axis in (2, 3, 4))
    assert steps <= 2 * 2.0 / elastic.CONTROL_MM  # the slope of a cubic B-spline is at most this


def test_control_points_moved_alike_move_everything_alike(monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, **_: jnp.full(shape, 1.5))
    moved = elastic.displacement(KEY, (9, 14, 20), 2.0, 0.7)
    np.testing.assert_allclose(moved, 1.5, rtol=1e-5)


@pytest.mark.extras
def test_elastic_deformation_moves_image_and_mask_together_where_it_is_resampled():
    stripes = jnp.asarray(np.arange(30 * 32 * 34).reshape(30, 32, 34) % 2, jnp.uint8)
    image = jnp.int16(100) * stripes
    hu, region = augmented(image, stripes, Strength(elastic_mm=2.0))
    np.testing.assert_allclose(hu / 100, region, atol=1e-4)
    plain, _ = augmented(image, stripes, Strength())
    assert (np.abs(hu - plain).max(axis=(1, 2, 3)) > 10).all()
    kept, _ = augmented(image, stripes, Strength(elastic_mm=2.0, resampled=0.0))
    np.testing.assert_allclose(kept, plain, atol=1e-3)


@pytest.mark.parametrize(
    "change", [{"softer_mm": 1.0}, {"sharper": 1.0}, {"cutout": 1.0}, {"noise_hu": 20.0}]
)
def test_each_change_of_the_appearance_is_switched_on_by_its_field_and_spares_the_mask(hu, change):
    image = jnp.asarray(np.tile(hu, (8, 2, 2))[:30, :32, :34], jnp.int16)
    mask = (image > 100).astype(jnp.uint8)
    plain, region = augmented(image, mask, Strength())
    changed, same = augmented(image, mask, Strength(**change))
    np.testing.assert_array_equal(same, region)
    assert (np.abs(changed - plain) > 1).any(axis=(1, 2, 3)).sum() >= 20
    if "noise_hu" in change:
        grain, _ = augmented(image, mask, Strength(noise_grain_mm=0.5, **change))
        wanted, got = (np.std(x - plain, axis=(1, 2, 3)) for x in (changed, grain))
        np.testing.assert_allclose(got, wanted, rtol=0.2)  # as strong, of another grain
        assert np.abs(grain - changed).max() > 5


def test_strengths_of_runs_older_than_the_fields_are_those_without_them(hu):
    old = senet.get_config().augment.copy_and_resolve_references().to_dict()
    new = dataclasses.asdict(Strength())
    for field in ("noise_grain_mm", "softer_mm", "sharper", "elastic_mm", "cutout", "cutout_mm"):
        assert old.pop(field) == (16.0 if field == "cutout_mm" else 0.0)
        new.pop(field)
    del old["mixup"]
    assert {*old} == {*new}
    augment.check(types.SimpleNamespace(**old))
    image = jnp.asarray(np.tile(hu, (8, 2, 2))[:30, :32, :34], jnp.int16)
    mask = (image > 100).astype(jnp.uint8)
    bare = types.SimpleNamespace(**new)
    got = augment.augment(KEYS[0], image, mask, WHOLE, SPEC, bare)[0]
    np.testing.assert_allclose(got, augmented(image, mask, Strength())[0][0], atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"softer_mm": -1.0}, "softer_mm is -1.0; 0 is off"),
        ({"mixup": -0.2}, "mixup is -0.2; 0 is off"),
        ({"cutout": 1.5}, "cutout is 1.5; give at most 1, as it is a probability"),
        ({"elastic_mm": 6.0}, "elastic_mm is 6.0; give at most 4.8, as it could fold the image"),
        ({"noise_grain_mm": 90.0}, "noise_grain_mm is 90.0; give at most 5, as no CT"),
        ({"noise_grain_mm": 0.5, "noise_hu": 0.0}, "nothing where config.augment.noise_hu is 0"),
        ({"elastic_mm": 2.0, "resampled": 0.0}, "nothing where config.augment.resampled is 0"),
        ({"cutout": 0.5, "cutout_mm": 0.0}, "nothing where config.augment.cutout_mm is 0"),
    ],
)
def test_impossible_strengths_are_refused_by_name(changed, message):
    strength = senet.get_config().augment.copy_and_resolve_references()
    strength.update(changed)
    with pytest.raises(UsageError, match=rf"config\.augment\..*{message}"):
        augment.check(strength)


def test_the_fields_that_switch_augmentation_off_are_all_but_those_that_are_no_strength():
    off = {name.removeprefix("augment.") for name in common.augmentation_off()} | {"mixup"}
    others = {"resampled", "interpolation", "cutout_mm"}
    assert off | others == {*senet.get_config().augment}

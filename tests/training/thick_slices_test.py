"""Scans as in thicker slices: what they show, and how often."""

import jax
import numpy as np
import pytest

from configs import vnet
from dtc_jax.errors import UsageError
from dtc_jax.tasks import segmentation
from dtc_jax.training.thick_slices import thick_slices


def seen(hu, seed=0, share=1.0, thickest_mm=5.0, spacing_mm=1.0):
    run = jax.jit(thick_slices, static_argnums=(2, 3, 4))
    return np.asarray(run(jax.random.key(seed), hu, share, thickest_mm, spacing_mm))


@pytest.fixture
def hu():
    return np.random.default_rng(0).normal(-800, 100, (30, 4, 5)).astype(np.float32)


def test_a_share_of_none_changes_nothing_and_what_is_even_stays(hu):
    np.testing.assert_array_equal(seen(hu, share=0.0), hu)
    flat = np.broadcast_to(hu[0], hu.shape)
    np.testing.assert_allclose(seen(flat), flat, rtol=1e-5)


def test_a_share_of_the_windows_is_seen_in_thicker_slices(hu):
    changed = [bool(np.any(seen(hu, seed, share=0.5) != hu)) for seed in range(60)]
    assert 18 <= sum(changed) <= 42
    assert not np.array_equal(seen(hu, 0), seen(hu, 1))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_interpolated_between_the_means_of_the_slices(seed):
    """By NumPy, from a profile on a grid that is two hundred times finer."""
    profile = np.random.default_rng(seed).normal(-800, 100, 40).astype(np.float32)
    _, drawn, phase = np.asarray(jax.random.uniform(jax.random.key(seed), (3,)))
    thickness = 1 + drawn * 4
    fine = np.arange(-20, 60, 0.005)
    steps = profile[np.clip(np.rint(fine), 0, 39).astype(int)]  # it goes on beyond its ends
    middles = (np.arange(41) - phase) * thickness
    middles = middles[middles < 45]
    means = [steps[np.abs(fine - middle) < thickness / 2].mean() for middle in middles]
    expected = np.interp(np.arange(40), middles, means)
    ours = seen(np.broadcast_to(profile[:, None, None], (40, 3, 3)), seed)
    np.testing.assert_allclose(ours[:, 1, 1], expected, atol=1.0)


def test_a_vessel_that_crosses_the_slices_fades_by_their_thickness():
    hu = np.full((21, 1, 1), -850.0, np.float32)
    hu[10] = 50.0
    faded = seen(hu, thickest_mm=10.0)
    assert faded.max() < -300.0
    assert faded.sum() == pytest.approx(hu.sum(), rel=0.05)  # of an interpolation of means


def _config(**augment):
    config = vnet.get_config("demo").unlock()
    config.model.update(widths=(4, 8), convolutions=(1, 1), stem_stride=1)
    config.preprocess.update(crop_mm=(8, 8, 8), spacing_mm=2.0)
    config.augment.update(augment)
    return config


@pytest.mark.extras
def test_the_segmenter_learns_from_such_windows():
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.normal(-800, 200, (2, 8, 8, 8)).astype(np.int16),
        "mask": np.pad(np.ones((2, 2, 2, 2), np.uint8), [(0, 0), *[(3, 3)] * 3]),
        "extent": np.tile(np.array([0, 8], np.int32), (2, 3, 1)),
        "valid": np.ones(2, np.float32),
        "weight": np.ones(2, np.float32),
    }
    keys = jax.random.split(jax.random.key(0), 2)
    losses = []
    for share in (0.0, 1.0):
        task = segmentation.make_task(_config(thick_slices=share, thickest_mm=8.0))
        variables = jax.jit(task.init)(jax.random.key(1))
        out = jax.jit(task.loss, static_argnums=4)(*variables, batch, keys, None)
        losses.append(float(out.metrics["loss"][0]))
    assert abs(losses[0] - losses[1]) > 1e-4


def test_slices_thinner_than_the_grid_are_refused():
    with pytest.raises(UsageError, match=r"thickest_mm is 1.0; it must be at least .* 2.0"):
        segmentation.check(_config(thick_slices=0.5, thickest_mm=1.0))

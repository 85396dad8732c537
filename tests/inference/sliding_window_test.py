"""Sliding windows: exact blending, no compilation twice, nothing computed that is not asked for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.inference.sliding_window import HostSums, SlidingWindow, importance, sliding_window
from dtc_jax.networks.stitching import DeviceSums

SPEC = SlidingWindow((8, 12, 10), overlap=0.5, batch=3)


def _volume(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _ramp(windows):
    """A network that says something else at each place of a window."""
    place = jnp.arange(np.prod(windows.shape[1:]), dtype=jnp.float32).reshape(windows.shape[1:])
    return windows * jnp.sin(place)[None]


class _Counted:
    """A jitted network that counts how often it is traced, and the windows it is given."""

    def __init__(self, network):
        self.traced = self.windows = 0

        def apply(windows):
            self.traced += 1
            return network(windows)

        self.apply = jax.jit(apply)

    def __call__(self, windows):
        self.windows += len(windows)
        return self.apply(windows)


def _direct(image, spec, network):
    """The definition, window after window in float64."""
    axes = []
    for n, window in zip(image.shape, spec.window, strict=True):
        starts, step = [0], round(window * (1 - spec.overlap))
        while starts[-1] + window < n:
            starts.append(min(starts[-1] + step, n - window))
        axes.append(starts)
    total, weight = np.zeros(image.shape), np.zeros(image.shape)
    axis = [np.exp(-(((np.arange(n) - (n - 1) / 2) / (0.125 * n)) ** 2) / 2) for n in spec.window]
    weights = axis[0][:, None, None] * axis[1][:, None] * axis[2]
    weights = np.maximum(weights / weights.max(), 1e-3)
    for start in itertools.product(*axes):
        box = tuple(slice(a, a + n) for a, n in zip(start, spec.window, strict=True))
        total[box] += weights * np.asarray(network(jnp.asarray(image[box])[None]))[0]
        weight[box] += weights
    return total / weight


@pytest.mark.parametrize("shape", [(8, 12, 10), (19, 30, 23), (16, 24, 20), (9, 13, 70)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
def test_a_network_that_says_what_it_sees_gives_the_volume_back(shape, overlap):
    image = _volume(shape)
    found = sliding_window(lambda x: x, image, SlidingWindow((8, 12, 10), overlap))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image, rtol=2e-5, atol=1e-6)  # float32 sums


@pytest.mark.parametrize("sums", [HostSums, DeviceSums])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_windows_that_disagree_are_blended_as_defined(overlap, sums):
    image = _volume((19, 30, 23))
    spec = SlidingWindow((8, 12, 10), overlap, batch=4)
    found = sliding_window(jax.jit(_ramp), image, spec, sums=sums)
    np.testing.assert_allclose(found, _direct(image, spec, _ramp), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_the_batch_changes_nothing(batch):
    image = _volume((19, 30, 23))
    expected = sliding_window(jax.jit(_ramp), image, SPEC)
    found = sliding_window(jax.jit(_ramp), image, SlidingWindow(SPEC.window, batch=batch))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 30, 23), (1, 1, 1), (8, 5, 10), (7, 11, 9)])
def test_a_volume_smaller_than_a_window_goes_on_beyond_its_edge(shape):
    image = _volume(shape)
    seen = []

    def network(windows):
        seen.append(windows)
        return windows

    np.testing.assert_allclose(sliding_window(network, image, SPEC), image, atol=1e-6)
    assert all(one.shape == (3, 8, 12, 10) for one in seen)
    extremes = [float(f(one)) for f in (np.min, np.max) for one in seen]
    assert image.min() <= min(extremes)
    assert max(extremes) <= image.max()  # no value that the volume has not


def test_inside_the_field_nothing_is_lost_and_windows_without_it_are_not_computed():
    image = _volume((40, 60, 50))
    field = np.zeros(image.shape, bool)
    field[5:9, 5:20, 5:15] = field[31:38, 45:59, 5:15] = True
    everything, asked = _Counted(_ramp), _Counted(_ramp)
    whole = sliding_window(everything, image, SPEC)
    # On windows laid alike, what is left out changes nothing.
    corner = field.copy()
    corner[0, 0, 0] = corner[-1, -1, -1] = True
    found = sliding_window(asked, image, SPEC, corner)
    np.testing.assert_allclose(found[field], whole[field], atol=1e-6)
    assert asked.windows < 0.5 * everything.windows
    assert (found == 0).mean() > 0.2
    # Laid on the field's own box they are fewer still.
    boxed = _Counted(lambda x: x)
    found = sliding_window(boxed, image, SPEC, field)
    np.testing.assert_allclose(found[field], image[field], rtol=2e-5, atol=1e-6)  # as above
    assert boxed.windows < asked.windows
    nothing = _Counted(_ramp)
    assert not sliding_window(nothing, image, SPEC, np.zeros(image.shape, bool)).any()
    assert nothing.windows == 0


def test_a_small_field_is_seen_with_what_is_around_it():
    image = _volume((40, 60, 50))
    field = np.zeros(image.shape, bool)
    field[20, 30, 25] = True
    seen = []

    def network(windows):
        seen.append(np.asarray(windows[0]))
        return windows

    sliding_window(network, image, SlidingWindow(SPEC.window, batch=1), field)
    inside = [
        np.array_equal(one, image[z : z + 8, y : y + 12, x : x + 10])
        for one in seen
        for z, y, x in itertools.product(range(14, 22), range(20, 32), range(16, 27))
    ]
    assert sum(inside) == len(seen)  # each window is a part of the volume, nothing is padded


def test_weights_are_gaussian_about_the_middle():
    weights = importance(SlidingWindow((9, 16, 11)))
    assert weights.shape == (9, 16, 11)
    assert weights.max() == weights[4, 7, 5] == weights[4, 8, 5] == 1.0
    np.testing.assert_allclose(weights, np.flip(weights), rtol=1e-6)
    ratio = np.log(weights[5, 7, 5]) / np.log(weights[6, 7, 5])
    assert ratio == pytest.approx(1 / 4, rel=1e-3)
    assert weights.min() == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {"window": (8, 8)},
        {"window": (8, 0, 8)},
        {"batch": 0},
        {"overlap": 1.0},
        {"overlap": -0.1},
        {"sigma": 0.0},
    ],
)
def test_impossible_windows_are_refused(fields):
    with pytest.raises(UsageError):
        SlidingWindow(**{"window": (8, 8, 8)} | fields)

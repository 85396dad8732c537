"""Adding windows up on the device compiles nothing twice."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dtc_jax.inference.sliding_window import SlidingWindow, sliding_window
from dtc_jax.networks import stitching
from dtc_jax.networks.stitching import DeviceSums

WINDOW = (8, 12, 10)


class _Tiny(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.sigmoid(nn.Conv(1, (3, 3, 3))(x[..., None]))[..., 0]


def test_a_second_scan_of_about_the_same_size_compiles_nothing():
    network = _Tiny()
    variables = network.init(jax.random.key(0), jnp.zeros((1, *WINDOW)))
    traced = []

    @jax.jit
    def predict(windows):
        traced.append(windows.shape)
        return network.apply(variables, windows)

    stitching._stitch.clear_cache()
    spec = SlidingWindow(WINDOW, overlap=0.25, batch=3)
    for shape in ((9, 30, 23), (17, 12, 30), (3, 30, 23)):
        sliding_window(predict, np.zeros(shape, np.float32), spec, sums=DeviceSums)
        assert len(traced) == 1  # whatever the size of the volume
        assert stitching._stitch._cache_size() == 1
    sliding_window(predict, np.zeros((9, 13, 65), np.float32), spec, sums=DeviceSums)
    assert len(traced) == 1
    assert stitching._stitch._cache_size() == 2

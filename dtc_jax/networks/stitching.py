"""Windows are added up where the network computes them.

It is compiled once for each size of volume, rounded up, so that the next scan of about the same
size compiles nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dtc_jax.inference.sliding_window import divided

_BUCKET = 64  # voxels; sides of the volume are rounded up to multiples of it


class DeviceSums:
    """`inference.sliding_window.Sums` on the default device."""

    def __init__(self, shape: tuple[int, ...], weights: np.ndarray) -> None:
        bucket = [-(-n // _BUCKET) * _BUCKET for n in shape]
        self._total, self._weight = (jnp.zeros(bucket, jnp.float32) for _ in range(2))
        self._weights = jnp.asarray(weights)
        self._inside = tuple(slice(n) for n in shape)
        self._last: jax.Array | None = None

    def add(self, probability: jax.Array, starts: np.ndarray, count: int) -> None:
        """See `Sums`."""
        jax.block_until_ready(self._last)  # one batch ahead, not all of them in memory
        self._last = probability
        counts = (np.arange(len(starts)) < count).astype(np.float32)  # [B]
        self._total, self._weight = _stitch(
            self._total, self._weight, probability, self._weights, starts, counts
        )

    def mean(self) -> np.ndarray:
        """See `Sums`."""
        return divided(
            np.asarray(self._total)[self._inside], np.asarray(self._weight)[self._inside]
        )


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _stitch(
    total: jax.Array,
    weight: jax.Array,
    probability: jax.Array,
    weights: jax.Array,
    starts: jax.Array,
    counts: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Adds windows to the sums [Z, Y, X] of weighted probability and of weights, in place."""

    def add(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        share = weights * counts[i]  # [d, h, w]

        def plus(into: jax.Array, what: jax.Array) -> jax.Array:
            before = jax.lax.dynamic_slice(into, starts[i], what.shape)
            return jax.lax.dynamic_update_slice(into, before + what, starts[i])

        return plus(sums[0], share * probability[i]), plus(sums[1], share)

    return jax.lax.fori_loop(0, len(starts), add, (total, weight))

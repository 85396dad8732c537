"""A scan as it would look in thicker slices, so that a network meets their blur and their steps.

A slice shows the mean over its thickness; a scan in slices of 5 mm that is resampled to 1 mm is a
straight line between such means. Where a vessel crosses a slice it then looks like a nodule, which
a network that was trained on thin slices has never seen.
"""

import jax
import jax.numpy as jnp


def thick_slices(
    key: jax.Array, hu: jax.Array, share: float, thickest_mm: float, spacing_mm: float
) -> jax.Array:
    """Replaces a window by what a scan in thicker slices shows of it, in `share` of the cases.

    Thickness and the place of the first slice are drawn evenly; slices touch and do not overlap.
    Beyond its ends the window is taken to go on as its last voxels.

    Args:
      key: of this example and this step.
      hu: HU, as seen in thin slices. # [D, H, W]
      share: probability that the slices are thicker.
      thickest_mm: largest thickness, at least `spacing_mm`.
      spacing_mm: of the voxels.

    Returns:
      HU. # [D, H, W]
    """
    chance, thickness, phase = jax.random.uniform(key, (3,))
    voxels = 1.0 + thickness * (thickest_mm / spacing_mm - 1.0)  # of a slice
    seen = jnp.einsum("ed,dhw->ehw", _blur(hu.shape[0], voxels, phase), hu, precision="highest")
    return jnp.where(chance < share, seen, hu)


def _blur(depth: int, voxels: jax.Array, phase: jax.Array) -> jax.Array:
    """From voxels in thin slices to the same voxels interpolated between thick ones. # [D, D]

    Args:
      depth: D.
      voxels: thickness of a slice, in voxels; at least 1.
      phase: in [0, 1): how far before the first voxel the first slice's middle lies, in slices.
    """
    middles = (jnp.arange(depth + 1) - phase) * voxels  # [K] of the slices, in voxels
    first, last = middles - voxels / 2, middles + voxels / 2
    edges = (jnp.arange(depth + 1) - 0.5).at[0].set(-jnp.inf).at[-1].set(jnp.inf)  # of the voxels
    starts, stops = edges[None, :-1], edges[None, 1:]
    shared = jnp.minimum(last[:, None], stops) - jnp.maximum(first[:, None], starts)
    mean = jnp.maximum(shared, 0.0) / voxels  # [K, D]
    away = jnp.abs(jnp.arange(depth)[:, None] - middles[None]) / voxels  # [D, K] in slices
    return jnp.matmul(jnp.maximum(1.0 - away, 0.0), mean, precision="highest")

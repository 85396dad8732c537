"""Elastic deformation: a grid of control points, each moved at random, joined by cubic B-splines.

The free-form deformation of Rueckert et al. (IEEE TMI 1999), which is smooth. Each voxel moves by
a mean over 64 control points: never further than they do, and typically (root mean square) by a
fifth of the largest displacement.
"""

import jax
import jax.numpy as jnp
import numpy as np

CONTROL_MM = 12.0  # between control points
# Below 0.4 of that distance a cubic B-spline does not fold (Choi and Lee 2000).
LARGEST_MM = 0.4 * CONTROL_MM


def displacement(
    key: jax.Array, shape: tuple[int, int, int], largest_mm: float, spacing_mm: float
) -> jax.Array:
    """How far each voxel moves along z, y and x, in mm. # [3, D, H, W]

    Args:
      key: of the draw.
      shape: (D, H, W).
      largest_mm: largest displacement of a control point along each axis, either way.
      spacing_mm: of the voxels.
    """
    bases = [_basis(n, spacing_mm) for n in shape]  # [n, K]
    sides = tuple(basis.shape[1] for basis in bases)
    points = jax.random.uniform(key, (3, *sides), minval=-largest_mm, maxval=largest_mm)
    return jnp.einsum("di,hj,wk,aijk->adhw", *bases, points, precision="highest")


def _basis(n: int, spacing_mm: float) -> np.ndarray:
    """The weight of each control point at each of `n` voxels; rows add up to 1. # [n, K]"""
    place = np.arange(n) * spacing_mm / CONTROL_MM
    first = np.floor(place).astype(int)  # of the four control points that reach a voxel
    t = place - first
    weights = (
        *((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4),
        *(-3 * t**3 + 3 * t**2 + 3 * t + 1, t**3),
    )
    basis = np.zeros((n, first.max() + 4), np.float32)
    for offset, weight in enumerate(weights):
        basis[np.arange(n), first + offset] = weight / 6.0
    return basis

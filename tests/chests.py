"""A chest of coarse voxels, drawn in an instant: a body, two lungs, and balls to put into them."""

from collections.abc import Sequence

import numpy as np

SHAPE, SPACING_MM = (32, 50, 64), np.array([5.0, 3.6, 3.6])
AFFINE = np.zeros((4, 4))
AFFINE[[2, 1, 0, 3], [0, 1, 2, 3]] = (*SPACING_MM, 1.0)  # (z, y, x) to RAS


def ball(center: Sequence[float], radii_mm: float | Sequence[float]) -> np.ndarray:
    """A ball, or an ellipsoid, about a voxel. # [Z, Y, X] bool"""
    away_mm = (np.moveaxis(np.indices(SHAPE), 0, -1) - center) * SPACING_MM
    return ((away_mm / radii_mm) ** 2).sum(axis=-1) < 1


def empty() -> np.ndarray:
    """HU of a chest without a lesion. # [Z, Y, X] int16"""
    _, y, x = np.indices(SHAPE)
    hu = np.where(((y - 25) / 23) ** 2 + ((x - 32) / 30) ** 2 < 1, 40, -1000).astype(np.int16)
    for center in ((16, 25, 18), (16, 25, 46)):
        hu[ball(center, (70.0, 65.0, 40.0))] = -860
    return hu

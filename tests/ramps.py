"""A tilted scan whose HU change linearly, so that what is interpolated has a closed form."""

import numpy as np
from scipy.spatial import transform

from dtc_jax.imaging.volume import Volume

SPACING_MM = (2.5, 0.7, 0.9)


def tilted_affine(spacing_mm=SPACING_MM, tilt_deg=(20, -15, 25)) -> np.ndarray:
    """From an index (z, y, x) to a tilted world."""
    affine = np.eye(4)
    tilt = transform.Rotation.from_euler("xyz", tilt_deg, degrees=True).as_matrix()
    affine[:3, :3] = tilt[:, ::-1] * spacing_mm
    affine[:3, 3] = (-31.0, 87.5, 12.25)
    return affine


def ramp(shape=(16, 24, 20), affine=None) -> Volume:
    """HU that change linearly along each axis, so that interpolation has a closed form."""
    z, y, x = np.indices(shape)
    grid = tilted_affine() if affine is None else affine
    return Volume((100 * z + 10 * y + x).astype(np.int16), grid)


def value(index: np.ndarray) -> np.ndarray:
    """HU of a `ramp` at (fractional) indices. # [..., 3] -> [...]"""
    return index @ [100.0, 10.0, 1.0]

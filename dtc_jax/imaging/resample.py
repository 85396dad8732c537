"""A whole volume on another grid, along its own axes."""

import numpy as np
from scipy import ndimage

from dtc_jax.imaging.volume import Volume


def resample(volume: Volume, spacing_mm: float = 1.0) -> Volume:
    """Brings a scan to `spacing_mm` along all axes by linear interpolation.

    The new grid covers the same field of view and keeps its middle in place.

    Returns:
      float32 [Z', Y', X'].
    """
    shape, step, origin = _grid(volume, spacing_mm)
    array = ndimage.affine_transform(
        volume.array.astype(np.float32), step, origin, output_shape=shape, order=1, mode="nearest"
    )
    return Volume(array, _affine(volume, step, origin))


def resample_mask(volume: Volume, spacing_mm: float = 1.0) -> Volume:
    """Brings a mask, or an instance mask, to `spacing_mm` without inventing labels.

    Each label is interpolated on its own; a voxel takes the label with the largest share, if that
    is at least one half.

    Returns:
      The dtype of `volume` [Z', Y', X'].
    """
    shape, step, origin = _grid(volume, spacing_mm)
    result = np.zeros(shape, volume.array.dtype)
    largest = np.full(shape, 0.5, np.float32)
    for label in np.unique(volume.array[volume.array != 0]):
        share = ndimage.affine_transform(
            (volume.array == label).astype(np.float32),
            step,
            origin,
            output_shape=shape,
            order=1,
            mode="nearest",
        )
        wins = share >= largest
        result[wins], largest[wins] = label, share[wins]
    return Volume(result, _affine(volume, step, origin))


def _grid(volume: Volume, spacing_mm: float) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Shape of the new grid, source voxels a new voxel, source index of its voxel 0."""
    step = spacing_mm / volume.spacing_mm  # [3]
    shape = np.maximum(1, np.rint(np.array(volume.shape) / step)).astype(int)
    origin = (np.array(volume.shape) - 1) / 2 - (shape - 1) / 2 * step
    return tuple(shape), step, origin


def _affine(volume: Volume, step: np.ndarray, origin: np.ndarray) -> np.ndarray:
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * step
    affine[:3, 3] = volume.world(origin)
    return affine

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
    for label, box in enumerate(ndimage.find_objects(volume.array.astype(np.int32)), start=1):
        if box is None:
            continue
        # The label reaches no further than the neighbours of its box.
        near = np.array([(max(0, side.start - 1), side.stop + 1) for side in box])  # [3, 2]
        start = np.clip(np.ceil((near[:, 0] - 1 - origin) / step), 0, shape).astype(int)
        stop = np.clip(np.floor((near[:, 1] - origin) / step) + 1, start, shape).astype(int)
        source = tuple(slice(a, b) for a, b in near)
        target = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        share = ndimage.affine_transform(
            (volume.array[source] == label).astype(np.float32),
            step,
            origin + step * start - near[:, 0],
            output_shape=tuple(stop - start),
            order=1,
            mode="nearest",
        )
        wins = share >= largest[target]
        result[target][wins], largest[target][wins] = label, share[wins]
    return Volume(result, _affine(volume, step, origin))


def onto(volume: Volume, grid: Volume) -> Volume:
    """Samples `volume` on the voxels of `grid`, which has the same axes and field of view.

    The inverse of `resample`: linear interpolation; beyond its outermost voxels they go on.

    Returns:
      float32, or bool for a mask, cut at one half. # [Z, Y, X] as `grid`
    """
    sampled = ndimage.affine_transform(
        volume.array.astype(np.float32),
        grid.spacing_mm / volume.spacing_mm,
        volume.index(grid.world(np.zeros(3))),
        output_shape=grid.shape,
        order=1,
        mode="nearest",
    )
    return Volume(sampled >= 0.5 if volume.array.dtype == bool else sampled, grid.affine)


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

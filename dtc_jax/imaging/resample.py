"""A whole volume on another grid, along its own axes."""

import numpy as np
from scipy import ndimage, sparse, special

from dtc_jax.imaging.volume import Volume

_FWHM = 2 * np.sqrt(2 * np.log(2))  # full width at half maximum of a Gaussian, in deviations
_REACH = 4.0  # deviations after which the Gaussian is cut off


def resample(volume: Volume, spacing_mm: float = 1.0, antialias: bool = False) -> Volume:
    """Brings a scan to `spacing_mm` along all axes by linear interpolation.

    The new grid covers the same field of view and keeps its middle in place.

    Args:
      volume: the scan.
      spacing_mm: of the new grid.
      antialias: whether the scan is smoothed first along the axes that get coarser, by a Gaussian
        whose full width at half maximum is sqrt(new spacing² - old spacing²): as if the scanner had
        measured with the new spacing (Cardoso et al. 2015, "Scale factor point spread function
        matching"; TorchIO's filter). Smoothing and interpolation are one kernel, evaluated where a
        new voxel lies, so that the noise that is left hardly depends on where that is between the
        old ones. Without it, noise aliases: it is as strong on the new grid as on the old.

    Returns:
      float32 [Z', Y', X'].
    """
    shape, step, origin = _grid(volume, spacing_mm)
    along_z, along_y, along_x = (
        _weights(n, origin[axis] + np.arange(shape[axis]) * step[axis], step[axis], antialias)
        for axis, n in enumerate(volume.shape)
    )
    planes = np.empty((volume.shape[0], *shape[1:]), np.float32)  # [Z, Y', X']
    for plane, source in zip(planes, volume.array, strict=True):
        plane[:] = (along_x @ (along_y @ source.astype(np.float32)).T).T
    array = along_z @ planes.reshape(len(planes), -1)
    return Volume(array.reshape(shape), _affine(volume, step, origin))


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
    step, origin = grid.spacing_mm / volume.spacing_mm, volume.index(grid.world(np.zeros(3)))

    def sampled(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        return ndimage.affine_transform(
            volume.array.astype(np.float32),
            step,
            origin + step * start,
            output_shape=tuple(stop - start),
            order=1,
            mode="nearest",
        )

    if volume.array.dtype != bool:
        return Volume(sampled(np.zeros(3, int), np.array(grid.shape)), grid.affine)
    mask = np.zeros(grid.shape, bool)
    start, stop = _reached(volume.array, step, origin, grid.shape)
    if (stop > start).all():
        inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        mask[inside] = sampled(start, stop) >= 0.5
    return Volume(mask, grid.affine)


def _reached(
    mask: np.ndarray, step: np.ndarray, origin: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The range of new voxels that the box of a mask reaches: all others are False. # [3], [3]

    Args:
      mask: bool [Z, Y, X].
      step: old voxels a new one. # [3]
      origin: of the new grid, among the old voxels. # [3]
      shape: of the new grid.
    """
    (box,) = ndimage.find_objects(mask.view(np.uint8), 1)
    if box is None:
        return np.zeros(3, int), np.zeros(3, int)
    ends = list(zip(box, mask.shape, strict=True))  # beyond the outermost voxels, they go on
    low = np.array([side.start - 1 if side.start else -np.inf for side, _ in ends])
    high = np.array([side.stop if side.stop < n else np.inf for side, n in ends])
    start = np.clip(np.ceil((low - origin) / step), 0, shape).astype(int)
    stop = np.clip(np.floor((high - origin) / step) + 1, start, shape).astype(int)
    return start, stop


def _grid(volume: Volume, spacing_mm: float) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Shape of the new grid, source voxels a new voxel, source index of its voxel 0."""
    step = spacing_mm / volume.spacing_mm  # [3]
    shape = np.maximum(1, np.rint(np.array(volume.shape) / step)).astype(int)
    origin = (np.array(volume.shape) - 1) / 2 - (shape - 1) / 2 * step
    return tuple(shape), step, origin


def _weights(n_in: int, position: np.ndarray, step: float, antialias: bool) -> sparse.csr_matrix:
    """By which new voxels are sums of the old ones along an axis; rows sum to 1. # [n_out, n_in]

    Beyond the outermost voxels, they go on.
    """
    wider = antialias and step > 1 + 1e-6
    sigma = np.sqrt(step**2 - 1) / _FWHM if wider else 0.0  # old voxels
    reach = int(np.ceil(1 + _REACH * sigma))
    index = np.floor(position)[:, None].astype(int) + np.arange(1 - reach, 1 + reach)[None]
    weights = _kernel(index - position[:, None], sigma)  # [n_out, taps]
    weights /= weights.sum(axis=1, keepdims=True)
    ends = np.arange(len(position) + 1) * index.shape[1]
    columns = np.clip(index, 0, n_in - 1)
    matrix = sparse.csr_matrix(
        (weights.astype(np.float32).ravel(), columns.ravel(), ends), (len(position), n_in)
    )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _kernel(away: np.ndarray, sigma: float) -> np.ndarray:
    """Linear interpolation's triangle of base 2, convolved with a Gaussian."""
    if not sigma:
        return np.maximum(0.0, 1.0 - abs(away))

    def second_integral(x: np.ndarray) -> np.ndarray:  # of the Gaussian
        z = x / sigma
        return x * special.ndtr(z) + sigma * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    return second_integral(away + 1) - 2 * second_integral(away) + second_integral(away - 1)


def _affine(volume: Volume, step: np.ndarray, origin: np.ndarray) -> np.ndarray:
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * step
    affine[:3, 3] = volume.world(origin)
    return affine

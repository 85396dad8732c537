"""From a scan to the grid that a segmenter sees: one way, for whole scans and stored patches alike.

The grid follows from the scan and the spacing alone. A patch is a window of it, so a network is
trained on the very voxels that it is given of a whole scan.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dtc_jax.imaging import lesions
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.resample import resample, resample_mask
from dtc_jax.imaging.volume import Volume

_ROUNDING = 1e-4  # of a voxel: what arithmetic on world coordinates may add or take


def to_grid(scan: Volume, spec: Preprocess) -> Volume:
    """A scan in HU on the network's grid: `spec.spacing_mm` along the scan's own axes.

    Args:
      scan: of any spacing.
      spec: `spacing_mm` and `antialias` count.

    Returns:
      int16 [Z, Y, X].
    """
    seen = resample(scan, spec.spacing_mm, spec.antialias == "gaussian")
    return Volume(whole_hu(seen.array), seen.affine)


def lesions_to_grid(numbered: Volume, spec: Preprocess) -> Volume:
    """The mask of a scan's lesions on the network's grid; see `to_grid`.

    A voxel belongs to it if half of what is interpolated there does, whichever lesion that is. A
    lesion too small to have a voxel of its own gets the one nearest to its middle, whatever lies
    beside it.

    Args:
      numbered: instance mask of the lesions, on the scan's grid.
      spec: `spacing_mm` counts.

    Returns:
      bool [Z, Y, X].
    """
    seen = resample_mask(Volume(numbered.array > 0, numbered.affine), spec.spacing_mm)
    own = np.unique(resample_mask(numbered, spec.spacing_mm).array)
    for number, box in lesions.numbered(numbered.array):
        if number not in own:
            seen.array[nearest(seen, lesions.middle_mm(numbered, box))] = True
    return seen


def nearest(volume: Volume, point_mm: np.ndarray) -> tuple[int, ...]:
    """The voxel of `volume` nearest to a point of the world; between two of them, the lower one."""
    index = np.ceil(volume.index(point_mm) - 0.5 - _ROUNDING).astype(int)
    return tuple(np.clip(index, 0, np.array(volume.shape) - 1).tolist())


def window(
    array: np.ndarray,
    place: Sequence[int],
    shape: Sequence[int],
    fill: float | Literal["edge"] = "edge",
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts voxels out of an array that may end within the window.

    Args:
      array: [Z, Y, X].
      place: the voxel that comes to lie in the middle, at index (n - 1) // 2 of a side of n.
      shape: voxels of the window.
      fill: what lies beyond the array: 'edge' goes on with its outermost voxels; or a value.

    Returns:
      [D, H, W], and its extent [3, 2]: the range of indices that lie inside the array.
    """
    start = np.array(place) - (np.array(shape) - 1) // 2  # [3]
    index = [first + np.arange(n) for first, n in zip(start, shape, strict=True)]
    sides = list(zip(index, array.shape, strict=True))
    found = array[np.ix_(*(np.clip(i, 0, n - 1) for i, n in sides))]
    if fill != "edge":
        outside = [(i < 0) | (i >= n) for i, n in sides]
        found[np.logical_or.outer(np.logical_or.outer(outside[0], outside[1]), outside[2])] = fill
    extent = np.clip(np.stack([-start, array.shape - start], axis=1), 0, np.array(shape)[:, None])
    return found, extent.astype(np.int32)


def whole_hu(hu: np.ndarray) -> np.ndarray:
    """Rounded to int16, as records are stored; what does not fit becomes the nearest that does."""
    return np.clip(np.rint(hu), -(2**15), 2**15 - 1).astype(np.int16)

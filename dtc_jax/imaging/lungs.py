"""The lung field of a chest CT, to which lung metastases are confined.

The body is found first, then the air inside it, then the lungs among that air by their density: gas
in bowel, stomach and sinuses and the foam of a table are less dense than lung, or outside the body.
Closing adds vessels and nodules, also those at the pleura.
"""

import edt
import numpy as np
from scipy import ndimage

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.resample import onto, resample
from dtc_jax.imaging.volume import Volume

_GRID_MM = 2.0  # a coarse grid is fast, averages noise, and suffices for lungs
_MIN_AIR_HU, _MAX_AIR_HU = -1024.0, -400.0  # below is only padding
_GAS_HU = -960.0  # gas is below, lung is above, with a margin of 40 HU for calibration
_BODY_HU = -500.0
_TABLE_MM = 8.0  # shells of tables are thinner, and so are parts of the chest wall
_ENCLOSED_SHARE = 0.25  # of a piece of lung that thicker parts of the body enclose
_TISSUE_CM2 = 15.0  # of lung in a slice; the rim of the trachea in the throat has less
_APEX_MM = 20.0  # how far lungs may extend beyond the last such slice


def given_or_found(image: Volume, path: storage.PathLike = "") -> Volume:
    """The lungs of a scan, read from a mask if there is one, else found by `lung_field`.

    Args:
      image: chest CT in HU.
      path: of a mask on the grid of `image`, nonzero in the lungs; '' for none.

    Returns:
      bool, on the grid of `image`.

    Raises:
      InputError: see `volume.read_mask` and `lung_field`.
    """
    if not path:
        return lung_field(image)
    return volume.read_mask(path, image, advice="segment the lungs, or omit the file")


def lung_field(image: Volume, *, closing_mm: float = 20.0, min_volume_ml: float = 100.0) -> Volume:
    """The lungs, with all structures inside them and indentations from the pleura.

    A single lung is valid, and so is a scan that truncates the lungs. Airways between the lungs are
    part of the field.

    Args:
      image: chest CT in HU; z runs along the body.
      closing_mm: radius of the ball of the closing: indentations of the lungs that it cannot enter
        are filled.
      min_volume_ml: minimum volume of a piece of lung.

    Returns:
      bool, on the grid of `image`.

    Raises:
      InputError: no lungs were found: `image` is not a CT of the chest, or not in HU.
    """
    coarse = resample(image, _GRID_MM)
    # Smoothing removes noise, and the speckle of a sharp kernel, which would split pieces.
    hu = ndimage.gaussian_filter(np.maximum(coarse.array, _MIN_AIR_HU), 1.0)
    if not (hu < _MAX_AIR_HU).any():
        raise InputError(
            f"no lungs found: no voxel is below {_MAX_AIR_HU:.0f} HU. Give a CT of the chest in "
            "Hounsfield units (its rescale intercept may be missing), or a mask of the lungs."
        )
    body = coarse.array > _BODY_HU  # not smoothed, to keep the wall of a thin chest
    air = (hu < _MAX_AIR_HU) & ~body
    pieces = lesions.components(air & _enclosed(body), connectivity=6)
    in_thorax = _enclosed(ndimage.binary_opening(body, iterations=round(_TABLE_MM / 2 / _GRID_MM)))
    lungs = np.isin(pieces, _lung_pieces(pieces, coarse.array, in_thorax, min_volume_ml))
    tissue_cm2 = (lungs & (hu > _GAS_HU)).sum(axis=(1, 2)) * _GRID_MM**2 / 100  # [Z]
    runs, n_runs = ndimage.label(tissue_cm2 > _TISSUE_CM2)
    if not n_runs:
        raise InputError(
            "no lungs found: no region inside the body has the density and size of a lung. Give "
            "a CT of the chest, or a mask of the lungs."
        )
    largest = 1 + np.argmax(ndimage.sum_labels(tissue_cm2, runs, range(1, n_runs + 1)))
    lungs[ndimage.distance_transform_edt(runs != largest) > _APEX_MM / _GRID_MM] = False
    return onto(Volume(_closed(lungs, closing_mm / _GRID_MM), coarse.affine), image)


def sides(field: Volume) -> Volume:
    """The right and the left lung of a lung field, divided in the middle of its width.

    Args:
      field: bool, along the axes of RAS.

    Returns:
      uint8 on the same grid: 1 in the patient's right half, 2 in the left, 0 outside.
    """
    _, _, width = lesions.bounding_box(field.array)
    right = np.arange(field.shape[2]) >= (width.start + width.stop) / 2
    return Volume(np.where(field.array, np.where(right, 1, 2), 0).astype(np.uint8), field.affine)


def _enclosed(dense: np.ndarray) -> np.ndarray:
    """Voxels with the largest dense piece on at least three of four sides in their slice.

    Three, since the edge of the scan may truncate the body on one side. # [Z, Y, X] -> [Z, Y, X]
    """
    pieces = lesions.components(dense, connectivity=6)
    sizes = np.bincount(pieces.ravel())[1:]
    body = pieces == (sizes.argmax() + 1 if sizes.size else -1)
    sides = np.zeros(body.shape, np.uint8)
    for axis in (1, 2):
        sides += np.logical_or.accumulate(body, axis=axis)
        sides += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
    return sides >= 3


def _lung_pieces(
    pieces: np.ndarray, hu: np.ndarray, enclosed: np.ndarray, min_volume_ml: float
) -> list[int]:
    """The numbers of the pieces with the size, density and location of a lung."""
    numbers = []
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == label
        if (
            piece.sum() * _GRID_MM**3 / 1000 >= min_volume_ml
            and np.median(hu[box][piece]) > _GAS_HU
            and enclosed[box][piece].mean() > _ENCLOSED_SHARE
        ):
            numbers.append(label)
    return numbers


def _closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """Closes with a ball of `radius` voxels and fills holes. # [Z, Y, X]

    The mask is padded by its edge, so that a truncated lung keeps its shape.
    """
    margin = int(np.ceil(radius)) + 1
    padded = np.pad(mask, margin, mode="edge")
    box = tuple(
        slice(max(0, side.start - margin), side.stop + margin)
        for side in lesions.bounding_box(padded)
    )
    grown = edt.edt(~padded[box]) <= radius
    padded[box] = edt.edt(grown) > radius
    return ndimage.binary_fill_holes(padded[(slice(margin, -margin),) * 3])

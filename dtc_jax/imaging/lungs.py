"""The lung field of a chest CT, to which lung metastases are confined.

The air around the body is found first, then the air inside it, then the lungs among that air by
their density: gas in bowel, stomach and sinuses and the foam of a table are less dense than lung,
or outside the body. `pleura` adds vessels, nodules and masses, also those at the pleura.
"""

import numpy as np
from scipy import ndimage

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions, pleura, volume
from dtc_jax.imaging.resample import onto, resample
from dtc_jax.imaging.volume import Volume

_GRID_MM = pleura.GRID_MM  # a coarse grid is fast, averages noise, and suffices for lungs
_MIN_AIR_HU, _MAX_AIR_HU = -1024.0, -400.0  # below is only padding
_GAS_HU = -960.0  # gas is below, lung is above, with a margin of 40 HU for calibration
_BODY_HU = -500.0
_TABLE_MM = 8.0  # shells of tables are thinner, and so are parts of the chest wall
_ENCLOSED_SHARE = 0.25  # of a piece of lung that thicker parts of the body enclose
_TISSUE_CM2 = 15.0  # of lung in a slice; the rim of the trachea in the throat has less
_APEX_MM = 20.0  # how far lungs may extend beyond the last such slice
_CUT_CM2 = 5.0  # of lung on a side of the scan; a whole chest has at most 2.2, at its apex
_SIDES = (("bottom", "top"), ("back", "front"), ("left", "right"))  # of z, y and x, the lower first


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


def lung_field(image: Volume, *, closing_mm: float = 24.0, min_volume_ml: float = 100.0) -> Volume:
    """The lungs, with all structures inside them and indentations from the pleura.

    A single lung is valid, and so is a scan that truncates the lungs. Large airways are part of the
    field, the mediastinum, the heart and the chest wall are not.

    Args:
      image: chest CT in HU; z runs along the body.
      closing_mm: radius of the ball of the closing: indentations of the lungs that it cannot enter
        are filled. A large mass at the chest wall is part of the field as well.
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
    outside = _outside(air, coarse.array)
    pieces = lesions.components(air & ~outside & _enclosed(body), connectivity=6)
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
    field = pleura.filled(lungs, hu, closing_mm) & ~outside
    return onto(Volume(field, coarse.affine), image)


def cut_off(field: Volume) -> list[str]:
    """The sides of the scan at which the lungs end because the scan does, such as 'top'.

    What lies beyond them cannot be found, and a series that lacks its last slices looks like this.

    Args:
      field: bool, the lungs; its axes are the closest to (z, y, x) of RAS.
    """
    sides = []
    for axis, ends in enumerate(_SIDES):
        voxel_cm2 = np.delete(field.spacing_mm, axis).prod() / 100
        for side, plane in zip(ends, (0, -1), strict=True):
            if np.take(field.array, plane, axis).sum() * voxel_cm2 >= _CUT_CM2:
                sides.append(side)
    return sides


def _outside(air: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """Air that reaches the side of its slice, and as a whole has no density of lung.

    So hollows of the body, such as that in front of the sternum or those beside the neck, are
    outside, while a lung that the edge of the scan truncates is not. # [Z, Y, X] -> [Z, Y, X]
    """
    outside = np.zeros_like(air)
    for plane, in_plane, density in zip(outside, air, hu, strict=True):
        pieces, n = ndimage.label(in_plane)
        rim = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
        sizes = np.bincount(pieces.ravel())
        gas = np.bincount(pieces[density < _GAS_HU], minlength=n + 1)
        is_outside = gas > sizes / 2
        is_outside[0] = False
        plane[:] = (is_outside & np.isin(np.arange(n + 1), rim))[pieces]
    return outside


def _enclosed(dense: np.ndarray) -> np.ndarray:
    """Voxels with the largest dense piece on at least three of four sides in their slice.

    Three, since the edge of the scan may truncate the body on one side. # [Z, Y, X] -> [Z, Y, X]
    """
    pieces = lesions.components(dense, connectivity=6)
    sizes = np.bincount(pieces.ravel())[1:]
    body = pieces == (sizes.argmax() + 1 if sizes.size else -1)
    (front, back), (right, left) = (_beside(body, axis) for axis in (1, 2))
    return (front & back & (right | left)) | (right & left & (front | back))


def _beside(body: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Where there is body at or before a voxel along an axis, and at or behind it."""
    n, some = body.shape[axis], body.any(axis)
    place = np.arange(n, dtype=np.int16).reshape(-1, *(1,) * (2 - axis))
    first = np.where(some, body.argmax(axis), n).astype(np.int16)
    last = np.where(some, n - 1 - np.flip(body, axis).argmax(axis), -1).astype(np.int16)
    return place >= np.expand_dims(first, axis), place <= np.expand_dims(last, axis)


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

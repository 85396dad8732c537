"""The lung field of a chest CT: where lung metastases can lie at all.

The body is found first, then the air that it encloses, then the lungs among that air by their
density: gas in bowel, stomach, sinuses and the foam of a table are emptier than lung, or lie
outside the body. Closing brings vessels and nodules back, those at the pleura as well.
"""

import edt
import numpy as np
from scipy import ndimage

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.resample import onto, resample
from dtc_jax.imaging.volume import Volume

_GRID_MM = 2.0  # lungs are large: a coarse grid makes this fast and averages noise away
_EMPTIEST_HU, _DENSEST_HU = -1024.0, -400.0  # of what counts as air; below lies only padding
_GAS_HU = -960.0  # gas is emptier, lung is denser, with 40 HU to spare for calibration
_BODY_HU = -500.0
_TABLE_MM = 8.0  # shells of tables are thinner; so is, here and there, the wall of a chest
_ENCLOSED_SHARE = 0.25  # of a piece of lung by those parts of the body that are thicker
_TISSUE_CM2 = 15.0  # of lung in a slice; a windpipe's rim is less, and parts lungs from throat
_APEX_MM = 20.0  # how far lungs may go beyond the last slice with as much


def given_or_found(image: Volume, path: storage.PathLike = "") -> Volume:
    """The lungs of a scan: those that were drawn, or else those that `lung_field` finds.

    Args:
      image: chest CT in HU.
      path: of a mask on the grid of `image`, whose voxels that are not 0 are lung; '' for none.

    Returns:
      bool, on the grid of `image`.

    Raises:
      InputError: see `volume.read_mask` and `lung_field`.
    """
    if not path:
        return lung_field(image)
    return volume.read_mask(path, image, advice="draw the lungs, or leave the file out")


def lung_field(image: Volume, *, closing_mm: float = 20.0, min_volume_ml: float = 100.0) -> Volume:
    """The lungs with all that lies inside them or indents them from the pleura.

    One lung alone is a valid field, and so is a scan that cuts the lungs off. Airways between the
    lungs belong to it.

    Args:
      image: chest CT in HU; z runs along the body.
      closing_mm: indentations of the lungs narrower than twice this are filled, as far as a ball
        of this radius cannot enter them.
      min_volume_ml: the smallest piece of lung.

    Returns:
      bool, on the grid of `image`.

    Raises:
      InputError: no lungs were found: `image` is no CT of the chest, or not in HU.
    """
    coarse = resample(image, _GRID_MM)
    # Noise goes, and with it the speckle of a sharp kernel that would tear pieces apart.
    hu = ndimage.gaussian_filter(np.maximum(coarse.array, _EMPTIEST_HU), 1.0)
    if not (hu < _DENSEST_HU).any():
        raise InputError(
            f"no lungs found: no voxel below {_DENSEST_HU:.0f} HU. Give a CT of the chest in "
            "Hounsfield units (its rescale intercept may be lost), or a mask of the lungs."
        )
    body = coarse.array > _BODY_HU  # not smoothed: the wall of a thin chest would go, too
    air = (hu < _DENSEST_HU) & ~body
    pieces = lesions.components(air & _enclosed(body), connectivity=6)
    surely = _enclosed(ndimage.binary_opening(body, iterations=round(_TABLE_MM / 2 / _GRID_MM)))
    lungs = np.isin(pieces, _lung_pieces(pieces, coarse.array, surely, min_volume_ml))
    tissue_cm2 = (lungs & (hu > _GAS_HU)).sum(axis=(1, 2)) * _GRID_MM**2 / 100  # [Z]
    runs, n_runs = ndimage.label(tissue_cm2 > _TISSUE_CM2)
    if not n_runs:
        raise InputError(
            "no lungs found: nothing inside the body has the density and the size of a lung. Give "
            "a CT of the chest, or a mask of the lungs."
        )
    largest = 1 + np.argmax(ndimage.sum_labels(tissue_cm2, runs, range(1, n_runs + 1)))
    lungs[ndimage.distance_transform_edt(runs != largest) > _APEX_MM / _GRID_MM] = False
    return onto(Volume(_closed(lungs, closing_mm / _GRID_MM), coarse.affine), image)


def _enclosed(dense: np.ndarray) -> np.ndarray:
    """Voxels that see the largest dense piece on at least three of four sides in their slice.

    Three, since the edge of the scan may cut the body off on one side. # [Z, Y, X] -> [Z, Y, X]
    """
    pieces = lesions.components(dense, connectivity=6)
    sizes = np.bincount(pieces.ravel())[1:]
    body = pieces == (sizes.argmax() + 1 if sizes.size else -1)
    seen = np.zeros(body.shape, np.uint8)
    for axis in (1, 2):
        seen += np.logical_or.accumulate(body, axis=axis)
        seen += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
    return seen >= 3


def _lung_pieces(
    pieces: np.ndarray, hu: np.ndarray, surely: np.ndarray, min_volume_ml: float
) -> list[int]:
    """The numbers of those pieces that have the size, the density and the place of a lung."""
    found = []
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == label
        if (
            piece.sum() * _GRID_MM**3 / 1000 >= min_volume_ml
            and np.median(hu[box][piece]) > _GAS_HU
            and surely[box][piece].mean() > _ENCLOSED_SHARE
        ):
            found.append(label)
    return found


def _closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """Closing with a ball of `radius` voxels, and holes filled. # [Z, Y, X]

    Beyond the array the mask goes on, so that a lung cut off by the scan's edge keeps its shape.
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

"""Where a lesion is, as a physician says it: the side, and the slice that a viewer shows."""

import numpy as np
import pandas as pd

from dtc_jax.imaging import lesions, lung_sides
from dtc_jax.imaging.numbering import Slices
from dtc_jax.imaging.volume import Volume

SIDES = {lung_sides.RIGHT: "right", lung_sides.LEFT: "left"}  # of the values of `sides`
_UNKNOWN = 3
_NEAR_MM = 10.0  # a lesion outside the lung field belongs to the lung this close to it


def sides(field: Volume) -> Volume:
    """The lungs by side: 1 right, 2 left, 3 where that is not known; 0 outside.

    Args:
      field: bool, the lung field.
    """
    labels = lung_sides.sides(field).array
    labels = np.where(field.array & (labels == 0), _UNKNOWN, labels).astype(np.uint8)
    return Volume(labels, field.affine)


def add(table: pd.DataFrame, mask: Volume, lung: Volume | None, numbering: Slices) -> pd.DataFrame:
    """Adds where each lesion is.

    Args:
      table: a row a lesion.
      mask: the lesions' numbers.
      lung: of `sides`, on the grid of `mask`; None if the lungs are not known.
      numbering: of the slices of the scan.

    Returns:
      `table` with `side` ('right', 'left', or '' where neither lung is near) and `slice` (Int64).
    """
    boxes = dict(lesions.numbered(mask.array))
    margin = np.ceil(_NEAR_MM / mask.spacing_mm)
    ids = [int(number) for number in table.lesion_id]
    side = [
        "" if lung is None else _side(mask.array, lung.array, number, boxes[number], margin)
        for number in ids
    ]
    number_of = [numbering.of(boxes[number]) for number in ids]
    return table.assign(
        side=pd.Series(side, table.index, dtype=object), slice=pd.array(number_of, dtype="Int64")
    )


def _side(
    mask: np.ndarray, lung: np.ndarray, number: int, box: tuple[slice, ...], margin: np.ndarray
) -> str:
    """The side on which most of a lesion is, or of what surrounds one outside the lung field."""
    near = lesions.padded(box, margin, mask.shape)
    for seen in (lung[box][mask[box] == number], lung[near]):
        voxels = [int((seen == value).sum()) for value in SIDES]
        if any(voxels):
            return list(SIDES.values())[int(np.argmax(voxels))]
    return ""

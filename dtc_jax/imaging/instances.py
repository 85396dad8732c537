"""From probabilities to lesions: an instance mask, and a table with one row per lesion."""

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd
from scipy import ndimage

from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume

COLUMNS = {
    "lesion_id": "number of the lesion in the instance mask, from 1, the largest first",
    "center_x_mm": "middle of the mask's bounding box in RAS world coordinates",
    "center_y_mm": "the same",
    "center_z_mm": "the same",
    "box_z_start": "first voxel of the bounding box along z in the arrays of this project",
    "box_z_stop": "the first voxel beyond it",
    "box_y_start": "the same along y",
    "box_y_stop": "the same",
    "box_x_start": "the same along x",
    "box_x_stop": "the same",
    "volume_mm3": "of the mask",
    "diameter_mm": "largest axial diameter of the mask, from voxel edge to voxel edge",
    "long_axis_mm": "the same, as RECIST 1.1 names it",
    "short_axis_mm": "largest diameter at right angles to it in the same slice",
    "mean_hu": "inside the mask",
    "mean_probability": "inside the mask",
    "max_probability": "inside the mask",
}


@dataclasses.dataclass(frozen=True)
class Instances:
    """How probabilities become lesions.

    Attributes:
      threshold: a voxel with at least this probability belongs to a lesion.
      connectivity: neighbours of a voxel: 6, 18 or 26.
      min_volume_mm3: smaller pieces are discarded; the default is a ball of 2.1 mm.
      min_inside: minimum share of a piece inside the lung field; a lesion at the pleura is kept
        whole, even if the field cuts through it.
      lesion_threshold: a piece whose highest probability is below it is probably no lesion. It is
        found nevertheless: whoever shows the findings decides what becomes of it.
    """

    threshold: float = 0.5
    connectivity: Literal[6, 18, 26] = 26
    min_volume_mm3: float = 5.0
    min_inside: float = 0.25
    lesion_threshold: float = 0.0

    def __post_init__(self):
        if self.connectivity not in (6, 18, 26):
            raise UsageError(f"connectivity is {self.connectivity}; use 6, 18 or 26.")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold is {self.threshold}; it must be above 0 and at most 1.")
        if not 0 <= self.lesion_threshold < 1:
            raise UsageError(
                f"lesion_threshold is {self.lesion_threshold}; it must be in [0, 1), 0 for none."
            )


def find(
    image: Volume, probability: Volume, spec: Instances, field: Volume | None = None
) -> tuple[Volume, pd.DataFrame]:
    """Splits the segmented voxels into lesions and measures them.

    Args:
      image: CT in HU.
      probability: float, on the grid of `image`.
      spec: see `Instances`.
      field: bool, on the grid of `image`: the lung field; None for everywhere.

    Returns:
      The instance mask on the grid of `image` (uint16, or uint32 if that is too small), and the
      table with `COLUMNS`, which has no row if there is no lesion.
    """
    pieces = lesions.components(probability.array >= spec.threshold, spec.connectivity)
    voxel_mm3 = float(np.prod(image.spacing_mm))
    accepted = []
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == label
        inside = 1.0 if field is None else field.array[box][piece].mean()
        if piece.sum() * voxel_mm3 >= spec.min_volume_mm3 and inside >= spec.min_inside:
            accepted.append((box, piece))
    accepted.sort(key=lambda pair: -pair[1].sum())  # stable: ties stay in the order of the scan
    mask = np.zeros(image.shape, np.uint16 if len(accepted) < 2**16 else np.uint32)
    for number, (box, piece) in enumerate(accepted, start=1):
        mask[box][piece] = number
    numbered = Volume(mask, image.affine)
    return numbered, measure(image, numbered, probability)


def measure(image: Volume, mask: Volume, probability: Volume | None = None) -> pd.DataFrame:
    """Measures the lesions of an instance mask.

    Args:
      image: CT in HU.
      mask: lesion numbers, 0 outside, on the grid of `image`.
      probability: float, on the same grid; None if no network found the lesions.

    Returns:
      The table with `COLUMNS`, sorted by number; unknown probabilities are NaN. It has no row if
      there is no lesion.
    """
    rows = []
    for number, box in lesions.numbered(mask.array):
        in_box = None if probability is None else probability.part(box)
        row = _row(image.part(box), in_box, mask.array[box] == number)
        for axis, side in zip("zyx", box, strict=True):
            row |= {f"box_{axis}_start": side.start, f"box_{axis}_stop": side.stop}
        rows.append({"lesion_id": number, **row})
    integers = dict.fromkeys((c for c in COLUMNS if "box" in c or c == "lesion_id"), int)
    kinds = {name: integers.get(name, float) for name in COLUMNS}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)


def _row(image: Volume, probability: Volume | None, piece: np.ndarray) -> dict[str, float]:
    """The measures of a lesion, from its box. # [d, h, w]"""
    measures = lesions.measure(image, Volume(piece, image.affine))
    x, y, z = measures.center_mm
    values = np.array([np.nan]) if probability is None else probability.array[piece]
    values = values.astype(np.float64)
    return {
        "center_x_mm": x,
        "center_y_mm": y,
        "center_z_mm": z,
        "volume_mm3": measures.volume_mm3,
        "diameter_mm": measures.diameter_mm,
        "long_axis_mm": measures.diameter_mm,
        "short_axis_mm": measures.short_axis_mm,
        "mean_hu": measures.mean_hu,
        "mean_probability": values.mean(),
        "max_probability": values.max(),
    }

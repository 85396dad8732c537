"""What is stored of a lesion: its crop at 1 mm, its mask, where the scan ends, its measures.

Labels, selection and splits are no part of it: they are joined when a run reads the records, so
changing them rebuilds nothing.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.grid import whole_hu

FORMAT = 1  # raised whenever the same scan would give other records

# What is measured of a lesion on its scan's own grid; names and axes, as columns of lesions.csv.
MEASURES = {
    "center_mm": "xyz",  # a point of the world
    "diameter_mm": "",
    "volume_mm3": "",
    "box_mm": "zyx",
    "scan_box_mm": "zyx",
    "mean_hu": "",
}


@dataclasses.dataclass(frozen=True)
class CropParams:
    """How lesions are cut out.

    Attributes:
      size_mm: sides of the crop along z, y, x, at 1 mm a voxel: the network's field of view and a
        margin, so that augmentation brings in no false air.
      fill: what lies beyond the scan: 'edge' goes on with its outermost voxels; or a HU value.
    """

    size_mm: tuple[int, int, int] = (48, 72, 72)
    fill: float | Literal["edge"] = "edge"

    def __post_init__(self):
        size = tuple(self.size_mm) if isinstance(self.size_mm, list | tuple) else ()
        whole = all(isinstance(side, int | float) and side == int(side) > 0 for side in size)
        if len(size) != 3 or not whole:
            raise UsageError(
                f"size_mm is {self.size_mm!r}; three positive whole numbers (z, y, x) are needed."
            )
        object.__setattr__(self, "size_mm", tuple(int(side) for side in size))
        number = isinstance(self.fill, int | float) and not isinstance(self.fill, bool)
        if self.fill != "edge" and not (number and -(2**15) <= self.fill < 2**15):
            raise UsageError(f"fill is {self.fill!r}; use 'edge' or a HU value.")


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A lesion of one scan: the manifest's columns that matter here.

    Attributes:
      patient_id: pseudonym.
      lesion_id: unique in the cohort.
      mask: path.
      mask_label: the lesion's number in an instance mask; None: all that is not zero.
    """

    patient_id: str
    lesion_id: str
    mask: str
    mask_label: int | None = None


def example(
    scan: volume.Volume, mask: volume.Volume, lesion: Lesion, params: CropParams
) -> dict[str, Any]:
    """The record of one lesion, whose mask was read.

    Args:
      scan: HU.
      mask: numbered lesions on the same grid.
      lesion: whose number is cut out.
      params: size and spacing of a record.

    Returns:
      image int16 [D, H, W] HU, mask uint8 [D, H, W], extent int32 [3, 2] (range of indices inside
      the scan), patient_id, lesion_id and `MEASURES` (float32).

    Raises:
      InputError: the lesion does not fit the scan.
    """
    measures = lesions.measure(scan, mask)
    return {
        **about_lesion(scan, mask, measures.center_mm, params),
        "patient_id": lesion.patient_id,
        "lesion_id": lesion.lesion_id,
        **_plain(measures),
    }


def about_lesion(
    scan: volume.Volume, mask: volume.Volume, center_mm: np.ndarray, params: CropParams
) -> dict[str, np.ndarray]:
    """`about` the middle of a lesion; one that falls between the grid's voxels keeps its middle."""
    shown = about(scan, mask, center_mm, params)
    if not shown["mask"].any():
        shown["mask"][tuple((n - 1) // 2 for n in params.size_mm)] = 1
    return shown


def about(
    scan: volume.Volume, mask: volume.Volume, center_mm: np.ndarray, params: CropParams
) -> dict[str, np.ndarray]:
    """What a record shows of a scan and a mask about a world point.

    Args:
      scan: HU.
      mask: one lesion, nonzero, on the same grid.
      center_mm: the point, [3].
      params: size and spacing of a record.

    Returns:
      image int16 [D, H, W] HU, mask uint8 [D, H, W], extent int32 [3, 2].

    Raises:
      InputError: the point lies outside the scan.
    """
    crop, extent = lesions.cut(scan, center_mm, params.size_mm, fill=params.fill)
    region, _ = lesions.cut(mask, center_mm, params.size_mm, kind="mask")
    return {
        "image": whole_hu(crop.array),
        "mask": region.array.astype(np.uint8),
        "extent": extent.astype(np.int32),
    }


def of_cube(image: np.ndarray, patient_id: str, lesion_id: str) -> dict[str, Any]:
    """The record of a lesion that comes as a cube of its own, background 0, voxels taken as 1 mm.

    Args:
      image: [D, H, W]; somewhere not 0.
      patient_id: pseudonym.
      lesion_id: unique.
    """
    mask = image != 0
    measures = lesions.measure(volume.Volume(image, np.eye(4)), volume.Volume(mask, np.eye(4)))
    return {
        "image": image.astype(np.int16),
        "mask": mask.astype(np.uint8),
        "extent": np.array([[0, side] for side in image.shape], np.int32),
        "patient_id": patient_id,
        "lesion_id": lesion_id,
        **_plain(measures),
    }


def columns(record: dict[str, Any], measures: Mapping[str, str] = MEASURES) -> dict[str, Any]:
    """A record's row of lesions.csv: ids and measures, a column for each axis of a vector."""
    row: dict[str, Any] = {}
    for name in ("lesion_id", "patient_id"):
        text = record[name]
        row[name] = text.decode() if isinstance(text, bytes) else text
    for name, axes in measures.items():
        value = record[name]
        if axes:
            row |= {f"{name}_{axis}": float(v) for axis, v in zip(axes, value, strict=True)}
        else:
            row[name] = float(value)
    return row


def _plain(measures: lesions.Measures) -> dict[str, np.ndarray]:
    return {name: np.asarray(getattr(measures, name), np.float32) for name in MEASURES}

"""What is stored of a lesion: its crop at 1 mm, its mask, where the scan ends, its measures.

Labels, selection and splits are no part of it: they are joined when a run reads the records, so
changing them rebuilds nothing.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import lesions, volume

FORMAT = 1  # raised whenever the same scan would give other records


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
        if len(self.size_mm) != 3 or min(self.size_mm) < 1:
            raise UsageError(f"size_mm={self.size_mm}: three positive whole numbers are needed.")
        if self.fill != "edge" and not isinstance(self.fill, int | float):
            raise UsageError(f"fill={self.fill!r}: use 'edge' or a HU value.")


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A lesion of one scan: the manifest's columns that matter here; mask_label None: any."""

    patient_id: str
    lesion_id: str
    mask: str
    mask_label: int | None

    @classmethod
    def from_row(cls, row: Any) -> "Lesion":
        """From a row of `manifest.read_manifest`."""
        label = None if math.isnan(row.mask_label) else int(row.mask_label)
        return cls(row.patient_id, row.lesion_id, row.mask, label)


def examples(
    image: str, of_scan: Sequence[Lesion], params: CropParams
) -> list[dict[str, Any] | InputError]:
    """The records of all lesions of one scan, which is read once; an error in place of a bad one.

    Returns:
      For each lesion image int16 [D, H, W] HU, mask uint8 [D, H, W], extent int32 [3, 2] (range of
      indices inside the scan), patient_id, lesion_id and the fields of `imaging.lesions.Measures`.
    """
    try:
        scan = volume.read_image(image)
    except InputError as error:
        return [InputError(f"lesion {lesion.lesion_id}: {error}") for lesion in of_scan]
    records: list[dict[str, Any] | InputError] = []
    for lesion in of_scan:
        try:
            records.append(example(scan, lesion, params))
        except InputError as error:
            records.append(InputError(f"lesion {lesion.lesion_id}: {error}"))
    return records


def example(scan: volume.Volume, lesion: Lesion, params: CropParams) -> dict[str, Any]:
    """The record of one lesion; see `examples`."""
    mask = volume.read_mask(lesion.mask, scan, lesion.mask_label)
    measures = lesions.measure(scan, mask)
    crop, extent = lesions.cut(scan, measures.center_mm, params.size_mm, fill=params.fill)
    region, _ = lesions.cut(mask, measures.center_mm, params.size_mm, kind="mask")
    if not region.array.any():  # thinner than the grid: keep its middle
        region.array[tuple((n - 1) // 2 for n in params.size_mm)] = True
    hu = np.clip(np.rint(crop.array), -(2**15), 2**15 - 1)
    fields = {
        field.name: np.asarray(getattr(measures, field.name), np.float32)
        for field in dataclasses.fields(measures)
    }
    return {
        "image": hu.astype(np.int16),
        "mask": region.array.astype(np.uint8),
        "extent": extent,
        "patient_id": lesion.patient_id,
        "lesion_id": lesion.lesion_id,
        **fields,
    }


def columns(record: dict[str, Any]) -> dict[str, Any]:
    """A record's row of lesions.csv: ids and measures, a column each for z, y and x of a vector."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        if name in ("image", "mask", "extent"):
            continue
        if np.ndim(value) == 1:
            axes = "xyz" if name == "center_mm" else "zyx"  # world or voxel order
            row |= {f"{name}_{axis}": float(v) for axis, v in zip(axes, value, strict=True)}
        else:
            row[name] = value if isinstance(value, str) else float(value)
    return row

"""How the files of a scan number its slices, so that a finding can be looked up in a viewer."""

import dataclasses
from typing import Any

import nibabel as nib

from dtc_jax.imaging.dicom import Series
from dtc_jax.imaging.volume import Volume

_COUNTED = "place in the file, from 1"


@dataclasses.dataclass(frozen=True)
class Slices:
    """How the scan's own files number its slices.

    Attributes:
      axis: of the arrays (z, y, x), across the slices.
      numbers: of the slices along it; none where the files do not number them.
      source: what the numbers are, in words.
    """

    axis: int
    numbers: tuple[int, ...]
    source: str

    def of(self, box: tuple[slice, ...]) -> int | None:
        """The slice through the middle of a box; the lower index where two are as near."""
        side = box[self.axis]
        return self.numbers[(side.start + side.stop - 1) // 2] if self.numbers else None

    def record(self) -> dict[str, Any]:
        """For run.json; the numbers are one text, since one a line would be hundreds of lines."""
        return {**dataclasses.asdict(self), "numbers": " ".join(map(str, self.numbers))}


def of_record(record: dict[str, Any]) -> Slices:
    """The counterpart of `Slices.record`; an older run.json has none: no slice has a number."""
    numbers = tuple(map(int, record.get("numbers", "").split()))
    return Slices(record.get("axis", 0), numbers, record.get("source", "unknown"))


def slices(image: Volume, series: Series | None) -> Slices:
    """How the files of a scan number its slices.

    Args:
      image: as read by `volume.read_image`.
      series: of DICOM: InstanceNumber counts, or the number of the frame in an enhanced file. None
        for other formats: the place of the axial slice in the file counts, from 1.

    Returns:
      No number at all where a slice of the series has none, or shares it with another.
    """
    if series is None:
        count = image.shape[0]
        numbers = range(1, count + 1) if "S" in image.axes else range(count, 0, -1)
        return Slices(0, tuple(numbers), _COUNTED)
    members = series.slices
    axis, sign = nib.io_orientation(series.affine)[2]
    given = [one.number for one in members if one.number is not None][:: int(sign)]
    if len(set(given)) < len(members):
        return Slices(2 - int(axis), (), "none: not every DICOM slice has a number of its own")
    source = "InstanceNumber" if len({one.file for one in members}) > 1 else "number of the frame"
    return Slices(2 - int(axis), tuple(given), source)

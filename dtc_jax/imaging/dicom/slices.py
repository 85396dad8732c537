"""One slice of a CT: where it lies, and how its stored numbers become HU."""

import dataclasses
import pathlib

import numpy as np
import pydicom
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import files
from dtc_jax.storage import PathLike

_RESCALE = "PixelValueTransformationSequence"
_HU = (None, "", "HU", "US")  # US: unspecified, as some scanners say of HU
_SKEWEST = 1e-3  # scalar product of the two axes of a slice


@dataclasses.dataclass(frozen=True)
class Slice:
    """A file, or a frame of an enhanced (multi-frame) one.

    Attributes:
      file: that holds it.
      frame: its index in that file.
      syntax: how its pixels are stored.
      position_mm: centre of its first pixel, LPS. # [3]
      axes: unit vectors along a row (the column grows) and down a column, LPS. # [2, 3]
      spacing_mm: of its columns (along a row) and of its rows. # [2]
      shape: rows, columns.
      slope, intercept: HU = slope * stored + intercept.
    """

    file: pathlib.Path = dataclasses.field(repr=False)  # its name may be a patient's
    frame: int
    syntax: uid.UID
    position_mm: np.ndarray
    axes: np.ndarray
    spacing_mm: np.ndarray
    shape: tuple[int, int]
    slope: float
    intercept: float


def count(header: pydicom.Dataset) -> int:
    """How many slices a CT image holds."""
    return int(header.get("NumberOfFrames") or 1) if header.SOPClassUID in files.ENHANCED else 1


def of_image(path: PathLike, file: pathlib.Path, header: pydicom.Dataset) -> list[Slice]:
    """The slices of a CT image.

    Args:
      path: of the folder, for messages.
      file: that holds the image.
      header: of `files.look`.

    Raises:
      InputError: the image is in colour, in other units than HU, or lacks what a slice must have.
    """
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(f"{path}: the series holds pictures in colour; choose the CT itself.")
    return [_slice(path, file, header, frame) for frame in range(count(header))]


def orientation(header: pydicom.Dataset, frame: int = 0) -> np.ndarray | None:
    """The axes of a slice, as `Slice` has them; None where the header has no valid ones."""
    axes = _numbers(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient", (2, 3))
    square = axes is not None and np.abs(axes @ axes.T - np.eye(2)).max() < _SKEWEST
    return axes if square else None


def _slice(path: PathLike, file: pathlib.Path, header: pydicom.Dataset, frame: int) -> Slice:
    def needed(keyword: str, found: np.ndarray | None) -> np.ndarray:
        if found is None:
            raise InputError(
                f"{path}: a slice of the series has no valid {keyword}; export the original CT "
                "series again, or choose another."
            )
        return found

    def numbers(sequence: str, keyword: str, *shape: int) -> np.ndarray:
        return needed(keyword, _numbers(header, frame, sequence, keyword, shape))

    if _attribute(header, frame, _RESCALE, "RescaleType") not in _HU:
        raise InputError(f"{path}: the series holds other units than HU; choose the CT itself.")
    spacing_mm = numbers("PixelMeasuresSequence", "PixelSpacing", 2)[::-1]
    slope = numbers(_RESCALE, "RescaleSlope").item()
    return Slice(
        file=file,
        frame=frame,
        syntax=header.file_meta.TransferSyntaxUID,
        position_mm=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        axes=needed("ImageOrientationPatient", orientation(header, frame)),
        spacing_mm=needed("PixelSpacing", spacing_mm if spacing_mm.min() > 0 else None),
        shape=(int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
        slope=needed("RescaleSlope", np.array(slope) if slope else None).item(),
        intercept=numbers(_RESCALE, "RescaleIntercept").item(),
    )


def _numbers(
    header: pydicom.Dataset, frame: int, sequence: str, keyword: str, shape: tuple[int, ...]
) -> np.ndarray | None:
    """A value of a slice as an array; None where it is not there, or not numbers."""
    try:
        found = np.array(_attribute(header, frame, sequence, keyword), float).reshape(shape)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


def _attribute(header: pydicom.Dataset, frame: int, sequence: str, keyword: str) -> object:
    """A value of a slice; an enhanced image holds it in `sequence`, of the frame or of all."""
    if header.SOPClassUID not in files.ENHANCED:
        return header.get(keyword)
    of_frames = header.get("PerFrameFunctionalGroupsSequence") or []
    of_all = header.get("SharedFunctionalGroupsSequence") or []
    for groups in [*of_frames[frame : frame + 1], *of_all[:1]]:
        if groups.get(sequence):
            return groups[sequence][0].get(keyword)
    return None

"""One slice of a CT: its position, and the conversion of its stored numbers to HU."""

import dataclasses
import pathlib

import numpy as np
import pydicom
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import acquisitions, files
from dtc_jax.storage import PathLike

_RESCALE = "PixelValueTransformationSequence"
_HU = (None, "", "HU", "US")  # US: unspecified, which some scanners write for HU
_MAX_SKEW = 1e-3  # scalar product of the two axes of a slice


@dataclasses.dataclass(frozen=True)
class Slice:
    """A file, or a frame of an enhanced (multi-frame) one.

    Attributes:
      file: that contains it.
      frame: its index in that file.
      number: by which a viewer shows it: InstanceNumber, or of an enhanced file the frame's from 1;
        None where the header has none.
      syntax: transfer syntax of its pixels.
      position_mm: centre of the first pixel, LPS. # [3]
      axes: unit vectors along a row (increasing column) and down a column, LPS. # [2, 3]
      spacing_mm: distance of columns (along a row) and of rows. # [2]
      shape: rows, columns.
      slope, intercept: HU = slope * stored + intercept.
      marks: by which acquisitions are told apart, see `acquisitions`; never shown.
    """

    file: pathlib.Path = dataclasses.field(repr=False)  # its name may identify a patient
    frame: int
    number: int | None
    syntax: uid.UID
    position_mm: np.ndarray
    axes: np.ndarray
    spacing_mm: np.ndarray
    shape: tuple[int, int]
    slope: float
    intercept: float
    marks: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)


def count(header: pydicom.Dataset) -> int:
    """Number of slices of a CT image."""
    return int(header.get("NumberOfFrames") or 1) if header.SOPClassUID in files.ENHANCED else 1


def of_image(path: PathLike, file: pathlib.Path, header: pydicom.Dataset) -> list[Slice]:
    """The slices of a CT image.

    Args:
      path: of the folder, for messages.
      file: that contains the image.
      header: of `files.scan_folder`.

    Raises:
      InputError: the image is in colour, not in HU, or lacks an attribute of a slice.
    """
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(f"{path}: the series contains colour images; choose the CT series.")
    return [_slice(path, file, header, frame) for frame in range(count(header))]


def orientation(header: pydicom.Dataset, frame: int = 0) -> np.ndarray | None:
    """The axes of a slice, see `Slice`; None if the header has no valid ones."""
    axes = _numbers(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient", (2, 3))
    is_valid = axes is not None and np.abs(axes @ axes.T - np.eye(2)).max() < _MAX_SKEW
    return axes if is_valid else None


def _slice(path: PathLike, file: pathlib.Path, header: pydicom.Dataset, frame: int) -> Slice:
    def required(keyword: str, value: np.ndarray | None) -> np.ndarray:
        if value is None:
            raise InputError(
                f"{path}: a slice of the series has no valid {keyword}; export the original CT "
                "series again, or choose another."
            )
        return value

    def numbers(sequence: str, keyword: str, *shape: int) -> np.ndarray:
        return required(keyword, _numbers(header, frame, sequence, keyword, shape))

    if _attribute(header, frame, _RESCALE, "RescaleType") not in _HU:
        raise InputError(f"{path}: the series is not in HU; choose the CT series.")
    spacing_mm = numbers("PixelMeasuresSequence", "PixelSpacing", 2)[::-1]
    slope = numbers(_RESCALE, "RescaleSlope").item()
    return Slice(
        file=file,
        frame=frame,
        number=_number(header, frame),
        syntax=header.file_meta.TransferSyntaxUID,
        position_mm=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        axes=required("ImageOrientationPatient", orientation(header, frame)),
        spacing_mm=required("PixelSpacing", spacing_mm if spacing_mm.min() > 0 else None),
        shape=(int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
        slope=required("RescaleSlope", np.array(slope) if slope else None).item(),
        intercept=numbers(_RESCALE, "RescaleIntercept").item(),
        marks=_marks(header, frame),
    )


def _number(header: pydicom.Dataset, frame: int) -> int | None:
    if header.SOPClassUID in files.ENHANCED:
        return frame + 1
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return None


def _marks(header: pydicom.Dataset, frame: int) -> dict[str, str]:
    enhanced = header.SOPClassUID in files.ENHANCED
    marks = {}
    for keyword, (of_frame, _) in acquisitions.MARKS.items():
        name = of_frame if enhanced else keyword
        value = _attribute(header, frame, "FrameContentSequence", name) if name else None
        marks[keyword] = "" if value is None else str(value)
    return marks


def _numbers(
    header: pydicom.Dataset, frame: int, sequence: str, keyword: str, shape: tuple[int, ...]
) -> np.ndarray | None:
    """An attribute of a slice as an array; None if it is missing or not numeric."""
    try:
        value = np.array(_attribute(header, frame, sequence, keyword), float).reshape(shape)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value).all() else None


def _attribute(header: pydicom.Dataset, frame: int, sequence: str, keyword: str) -> object:
    """An attribute of a slice; an enhanced image has it in `sequence`, per frame or shared."""
    if header.SOPClassUID not in files.ENHANCED:
        return header.get(keyword)
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in [*per_frame[frame : frame + 1], *shared[:1]]:
        if groups.get(sequence):
            return groups[sequence][0].get(keyword)
    return None

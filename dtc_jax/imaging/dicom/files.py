"""What lies in a folder: the headers of its CT images, and a count of everything else."""

import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import struct
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import pydicom
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

ENHANCED = (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
SUFFIX = ".dcm"
_CT = (uid.CTImageStorage, *ENHANCED)

# Nothing else of a header is looked at; the three identifiers are compared, and never shown.
_TAGS = [
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SeriesNumber"),
    *("ImageType", "BodyPartExamined", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_MARK = slice(128, 132)  # where a DICOM file says DICM
_PIXELS = [struct.pack(f"{order}HH", 0x7FE0, 0x0010) for order in "<>"]  # the tag of the pixels
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Folder:
    """The files of a folder, sorted by name, with those of its subfolders.

    Attributes:
      images: file and header of each CT image that is no localizer.
      others: how many there are of each other kind.
    """

    images: list[tuple[pathlib.Path, pydicom.Dataset]]
    others: collections.Counter[str]


@contextlib.contextmanager
def unseen_values() -> Iterator[None]:
    """Keeps pydicom and highdicom from warnings and log lines that quote a header's values."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def is_dicom(path: PathLike) -> bool:
    """Whether a file is DICOM, by its first bytes or by its name."""
    if os.fspath(path).lower().endswith(SUFFIX):
        return True
    with open(path, "rb") as file:
        return file.read(_MARK.stop)[_MARK] == b"DICM"


def read(file: PathLike | BinaryIO, tags: list[str] | None = None) -> pydicom.Dataset:
    """Reads a file, or of its header the `tags` alone; old files may lack the DICOM preamble."""
    found = pydicom.dcmread(file, force=True, stop_before_pixels=bool(tags), specific_tags=tags)
    if "TransferSyntaxUID" not in found.file_meta:
        implicit, little = found.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        found.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return found


def visible_files(path: PathLike) -> list[pathlib.Path]:
    """The files below a folder, sorted, without the hidden ones that systems leave; or the file."""
    if not os.path.isdir(path):
        return [pathlib.Path(path)]
    found = [pathlib.Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sorted(file for file in found if not file.name.startswith("."))


def look(path: PathLike) -> Folder:
    """Reads the headers of all files in a folder, or of the one file `path`.

    Values are converted when they are asked for: who does so is under `unseen_values`.

    Raises:
      InputError: a file is empty, or says that it is DICOM and cannot be read as such. Which series
        it belongs to is not known; without it that series might lack a slice.
    """
    names = visible_files(path)
    images: list[tuple[pathlib.Path, pydicom.Dataset]] = []
    others: collections.Counter[str] = collections.Counter()
    damaged = []
    for number, name in enumerate(names, start=1):
        try:
            if name.stat().st_size and not is_dicom(name):
                others["file that is not DICOM"] += 1
                continue
            with open(name, "rb") as file:
                header = read(file, _TAGS)
                kind = _kind(header)
                if not kind:
                    _check_whole(header, file)
        except Exception:  # whatever a damaged file makes of the parser
            damaged.append(number)
            continue
        if kind:
            others[kind] += 1
        else:
            images.append((name, header))
    if damaged:
        raise InputError(
            f"{path}: {len(damaged)} of {len(names)} files cannot be read as DICOM (empty, cut "
            f"off, damaged or encrypted): in the order of their names {_places(damaged)}. Copy the "
            "folder again from its source, or decrypt it."
        )
    return Folder(images, others)


def _places(numbers: list[int]) -> str:
    """Which files of a folder, whose names may say whose they are."""
    more = len(numbers) - _SHOWN
    named = ", ".join(map(str, numbers[:_SHOWN]))
    return f"number {named} and {more} more" if more > 0 else f"number {named}"


def _kind(header: pydicom.Dataset) -> str:
    """What a file is, in the standard's words; '' for a CT image that is no localizer."""
    kind = header.get("SOPClassUID") or header.file_meta.MediaStorageSOPClassUID
    if kind not in _CT:
        if any(ct.startswith(kind) for ct in _CT):
            raise ValueError("ends within its class")
        known = kind in uid.UID_dictionary  # a private class has no name but its UID
        return kind.name.removesuffix(" Storage") if known else "private object"
    return "localizer" if "LOCALIZER" in (header.get("ImageType") or ()) else ""


def _check_whole(header: pydicom.Dataset, file: BinaryIO) -> None:
    """Raises a `ValueError` where a header of a CT image ends early or counts no frames.

    pydicom takes the end of a file for that of the header, also in the midst of a value: a slice
    whose UID is cut off would be a series of its own, and the rest would look whole without it.

    Args:
      header: of `read`.
      file: where `read` has stopped: before the pixels, if it has come so far.
    """
    if not {"SOPClassUID", "SeriesInstanceUID"} <= set(header.dir()):
        raise ValueError("ends within its header")
    deflated = header.file_meta.TransferSyntaxUID.is_deflated  # of these zlib finds the early end
    if not deflated and file.read(4) not in _PIXELS:
        raise ValueError("ends before its pixels")
    int(header.get("NumberOfFrames") or 1)

"""What lies in a folder: the headers of its CT images, and a count of everything else."""

import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import warnings
from collections.abc import Iterator

import pydicom
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

ENHANCED = (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
SUFFIX = ".dcm"

# Nothing else of a header is looked at; the three identifiers are compared, and never shown.
_TAGS = [
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SeriesNumber"),
    *("ImageType", "BodyPartExamined", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_MARK = slice(128, 132)  # where a DICOM file says DICM


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


def read(name: PathLike, tags: list[str] | None = None) -> pydicom.Dataset:
    """Reads a file, or of its header the `tags` alone; old files may lack the DICOM preamble."""
    found = pydicom.dcmread(name, force=True, stop_before_pixels=bool(tags), specific_tags=tags)
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
    damaged = 0
    for name in names:
        try:
            if name.stat().st_size and not is_dicom(name):
                others["file that is not DICOM"] += 1
                continue
            header = read(name, _TAGS)
            kind = _kind(header)
            if not kind:
                _check_whole(header)
        except Exception:  # whatever a damaged file makes of the parser
            damaged += 1
            continue
        if kind:
            others[kind] += 1
        else:
            images.append((name, header))
    if damaged:
        raise InputError(
            f"{path}: {damaged} of {len(names)} files cannot be read as DICOM (empty, damaged, "
            "truncated or encrypted); copy the folder again from its source, or decrypt it."
        )
    return Folder(images, others)


def _kind(header: pydicom.Dataset) -> str:
    """What a file is, in the standard's words; '' for a CT image that is no localizer."""
    kind = header.get("SOPClassUID") or header.file_meta.MediaStorageSOPClassUID
    if kind not in (uid.CTImageStorage, *ENHANCED):
        known = kind in uid.UID_dictionary  # a private class has no name but its UID
        return kind.name.removesuffix(" Storage") if known else "private object"
    return "localizer" if "LOCALIZER" in (header.get("ImageType") or ()) else ""


def _check_whole(header: pydicom.Dataset) -> None:
    """Raises a `ValueError` where a header of a CT image ends early or counts no frames."""
    if not {"SOPClassUID", "SeriesInstanceUID"} <= set(header.dir()):
        raise ValueError("ends within its header")
    int(header.get("NumberOfFrames") or 1)

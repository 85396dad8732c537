"""The contents of a folder: headers of its CT images, and a count of everything else."""

import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import struct
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import pydicom
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import acquisitions
from dtc_jax.storage import PathLike

ENHANCED = (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
SUFFIX = ".dcm"
_CT = (uid.CTImageStorage, *ENHANCED)

# The only tags that are read; the identifiers and texts are compared, never shown.
_TAGS = [
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SeriesNumber"),
    "FrameOfReferenceUID",
    *("InstanceNumber", "ImageType", "BodyPartExamined", "NumberOfFrames", "Rows", "Columns"),
    *("SamplesPerPixel",),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "SeriesDescription"),
    *("KVP", "XRayTubeCurrent", "ConvolutionKernel", "SliceThickness"),
    *acquisitions.MARKS,
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_MAGIC = slice(128, 132)  # the bytes DICM of a DICOM file
# What a file without a preamble begins with: a tag of group 2 or 8 up to that of the class (or
# the instance), and its VR, or a length below 64 KiB; little endian, or big.
_BARE = re.compile(
    rb"[\x02\x08]\0[\0-\x18]\0([A-Z]{2}|..\0\0)|\0[\x02\x08]\0[\0-\x18][A-Z]{2}", re.DOTALL
)
_PIXELS = [struct.pack(f"{order}HH", 0x7FE0, 0x0010) for order in "<>"]  # the tag of the pixel data
_LISTED = 10


@dataclasses.dataclass(frozen=True)
class Folder:
    """The files of a folder and its subfolders, sorted by name.

    Attributes:
      images: file and header of each CT image that is not a localizer.
      others: number of files of each other kind.
    """

    images: list[tuple[pathlib.Path, pydicom.Dataset]]
    others: collections.Counter[str]


@contextlib.contextmanager
def suppress_header_values() -> Iterator[None]:
    """Suppresses warnings and log lines of pydicom and highdicom, which may quote header values."""
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


def is_scan(path: PathLike) -> bool:
    """Whether a path is a folder, which only a DICOM scan is, or a DICOM file."""
    return os.path.isdir(path) or is_dicom(path)


def is_dicom(path: PathLike) -> bool:
    """Whether a file is DICOM, by its name or its first bytes; old files lack the preamble."""
    if os.fspath(path).lower().endswith(SUFFIX):
        return True
    with open(path, "rb") as file:
        start = file.read(_MAGIC.stop)
    return start[_MAGIC] == b"DICM" or _BARE.match(start) is not None


def read(file: PathLike | BinaryIO, tags: list[str] | None = None) -> pydicom.Dataset:
    """Reads a file, or only the `tags` of its header; old files may lack the DICOM preamble."""
    dataset = pydicom.dcmread(file, force=True, stop_before_pixels=bool(tags), specific_tags=tags)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def visible_files(path: PathLike) -> list[pathlib.Path]:
    """The files below a folder, sorted, without hidden ones; or the file itself.

    Folders that are links are followed; each folder counts once.

    Raises:
      OSError: a folder cannot be listed; its files would be missing.
    """
    if not os.path.isdir(path):
        return [pathlib.Path(path)]
    found: list[pathlib.Path] = []
    seen: set[str] = set()
    for folder, below, names in os.walk(path, onerror=_raise, followlinks=True):
        below.sort()  # so that of two ways to a folder it is always the same that counts
        place = os.path.realpath(folder)
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        found += [pathlib.Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def scan_folder(path: PathLike) -> Folder:
    """Reads the headers of all files in a folder, or of the one file `path`.

    Must be called under `suppress_header_values`, since values are converted here.

    Raises:
      InputError: a folder cannot be listed; or a file is empty, or is DICOM but cannot be read. Its
        series is unknown, and without the file it might lack a slice.
    """
    try:
        names = visible_files(path)
    except OSError as error:  # its name may identify the patient
        raise InputError(
            f"{path}: a folder in it cannot be listed ({str(error.strerror).lower()}); change its "
            "permissions, or connect its disk again."
        ) from error
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
        except Exception:  # a damaged file may raise anything
            damaged.append(number)
            continue
        if kind:
            others[kind] += 1
        else:
            images.append((name, header))
    if damaged:
        raise InputError(
            f"{path}: {len(damaged)} of {len(names)} files cannot be read as DICOM (empty, "
            f"truncated, damaged or encrypted): {_places(damaged)} when sorted by name. Copy the "
            "folder again from its source, or decrypt it."
        )
    return Folder(images, others)


def _places(numbers: list[int]) -> str:
    """The positions of files in a folder; their names may identify the patient."""
    more = len(numbers) - _LISTED
    listed = ", ".join(map(str, numbers[:_LISTED]))
    return f"number {listed} and {more} more" if more > 0 else f"number {listed}"


def _kind(header: pydicom.Dataset) -> str:
    """The kind of a file in the terms of the standard; '' for a CT image, except a localizer."""
    kind = header.get("SOPClassUID") or header.file_meta.MediaStorageSOPClassUID
    if kind not in _CT:
        if any(ct.startswith(kind) for ct in _CT):
            raise ValueError("ends within its class")
        is_standard = kind in uid.UID_dictionary  # a private class has only a UID
        return kind.name.removesuffix(" Storage") if is_standard else "private object"
    return "localizer" if "LOCALIZER" in (header.get("ImageType") or ()) else ""


def _check_whole(header: pydicom.Dataset, file: BinaryIO) -> None:
    """Raises an error if the header of a CT image is truncated or damaged.

    pydicom takes the end of a file for the end of the header, even within a value: a slice with a
    truncated UID would form a separate series, and the rest would look complete without it.

    Args:
      header: of `read`.
      file: at the position where `read` stopped: before the pixels, unless truncated.
    """
    if not {"SOPClassUID", "SeriesInstanceUID"} <= set(header.dir()):
        raise ValueError("ends within its header")
    deflated = (
        header.file_meta.TransferSyntaxUID.is_deflated
    )  # zlib detects a truncated deflated file
    if not deflated and file.read(4) not in _PIXELS:
        raise ValueError("ends before its pixels")
    for _ in header.iterall():  # converts each value: one byte can make that impossible
        pass
    for keyword in ("NumberOfFrames", "Rows", "Columns"):
        int(header.get(keyword) or 0)

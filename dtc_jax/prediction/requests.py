"""Which scans are to be predicted: one, or those of a CSV."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from dtc_jax.archive import address
from dtc_jax.crops import fingerprint
from dtc_jax.csv_reader import Problem, TableError, read_cells
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import ct, dicom
from dtc_jax.imaging.volume import Volume
from dtc_jax.storage import PathLike

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # is the name of a folder on every system
_OWN = (
    "batch.json",
    "scans.csv",
    "lesions.csv",
    "manifest.csv",
)  # what a batch writes beside the scans' folders
_COLUMNS = ("image", "patient_id", "scan_id", "series", "lungs")


@dataclasses.dataclass(frozen=True)
class Request:
    """A scan to predict.

    Attributes:
      path: NIfTI, NRRD, MHA or a DICOM folder; of a batch, also the address of a series.
      scan_id: its name in tables, and that of its folder.
      patient_id: pseudonym; '' where none is given.
      series: of a DICOM folder; see `dicom.find`.
      lungs: mask of the lungs; '' to find them.
      lesions: mask or CSV of lesions that are outlined already; '' to find them.
    """

    path: str
    scan_id: str = "scan"
    patient_id: str = ""
    series: str | None = None
    lungs: str = ""
    lesions: str = ""

    @property
    def title(self) -> str:
        """What the scan is called on a page."""
        return self.patient_id or self.scan_id

    def stamp(self) -> str:
        """Changes with whatever the file system says of the files; reveals nothing of them."""
        return self._hash(fingerprint.stamp)

    def contents(self) -> str:
        """Changes with the contents of the files, and not with their place or their time."""
        return self._hash(fingerprint.sha256)

    def _hash(self, of_file: Callable[[str], Any]) -> str:
        """What cannot be read counts as empty: reading it will raise a clear error."""
        known = [
            self.series,
            *(of_file(path) if path else None for path in (self.path, self.lungs)),
            *([of_file(self.lesions)] if self.lesions else []),  # older answers are without
        ]
        return hashlib.sha256(repr(known).encode()).hexdigest()

    def size(self) -> str:
        """Of all files of the scan together, as a person reads it."""
        files = [file for file in dicom.visible_files(self.path) if file.exists()]
        return f"{sum(file.stat().st_size for file in files) / 2**20:,.1f} MiB"


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan as it was read.

    Attributes:
      image: HU.
      series: that it is, where it is DICOM.
    """

    image: Volume
    series: dicom.Series | None

    def fingerprint(self) -> str:
        """SHA-256 of the voxels in HU and of their place, to a thousandth of a mm."""
        seen = hashlib.sha256(str(self.image.shape).encode())
        seen.update(self.image.array.astype("<f4").tobytes())
        seen.update((self.image.affine.round(3) + 0.0).astype("<f8").tobytes())  # -0 is 0
        return seen.hexdigest()


def read(path: PathLike, series: str | None = None) -> Scan:
    """Reads a scan.

    Raises:
      InputError: see `ct.read`.
    """
    image = ct.read(path, series)  # first: it says what is wrong with the path
    return Scan(image, dicom.find(path, series) if dicom.is_scan(path) else None)


def read_csv(path: PathLike) -> list[Request]:
    """The scans of a CSV; a manifest of lesions is one too, its scans counting once each.

    Columns are `image` and, where wanted, `patient_id` (a pseudonym), `scan_id` (names the folder
    of the scan; default the patient's, else scan-001, …), `series` and `lungs`. Paths are absolute
    or relative to the CSV; an image may also be the address of a series, see `archive.address`.
    Whether the files are there is not looked at.

    Raises:
      InputError: there is no such file; or all that is wrong with it.
    """
    path = pathlib.Path(path)
    cells, problems = read_cells(path, "the CSV of scans", each="scan")
    if "image" not in cells:
        columns = ", ".join(cells)
        problems.append(Problem(1, "image", f"no such column; add it to {columns}."))
        raise TableError(path, problems)
    for column in _COLUMNS:
        if column not in cells:
            cells[column] = ""
    problems += [
        Problem(int(str(row)), "image", "is empty; name a scan.")
        for row in cells.index[cells.image == ""]
    ]
    problems += _bad_addresses(cells)
    firsts = []
    for _, rows in cells.groupby(["image", "series"], sort=False):
        firsts.append(rows.index[0])
        problems += _divided(rows)
    scans = cells.loc[firsts]
    problems += _bad_names(scans)
    if problems:
        raise TableError(path, problems)
    root = path.absolute().parent  # a short relative path could be a part of any word

    def place(text: str) -> str:
        return str(root / text) if text and not address.is_address(text) else text

    return [
        Request(place(image), name, patient, series or None, place(lungs))
        for name, image, patient, series, lungs in zip(
            _names(scans), scans.image, scans.patient_id, scans.series, scans.lungs, strict=True
        )
    ]


def check_name(name: str) -> str:
    """What is wrong with a scan's id; '' if nothing is."""
    if name.lower() in _OWN:
        return "is the name of a file of the batch"
    if _NAME.fullmatch(name):
        return ""
    return (
        "must have at most 64 letters, digits, '.', '_' and '-', and begin with a letter or digit"
    )


def _bad_addresses(cells: pd.DataFrame) -> Iterator[Problem]:
    for row, image in cells.image[cells.image.map(address.is_address)].items():
        number = int(str(row))
        try:
            address.series(image, "the address")
        except UsageError as error:
            yield Problem(number, "image", str(error))
        if cells.series[row]:
            yield Problem(number, "series", "the image is the address of one series; clear it.")
    for row in cells.index[cells.lungs.map(address.is_address)]:
        yield Problem(int(str(row)), "lungs", "is an address; name a file.")


def _divided(rows: pd.DataFrame) -> Iterator[Problem]:
    """Rows of one scan that disagree."""
    for column in ("patient_id", "scan_id", "lungs"):
        for row in rows.index[rows[column] != rows[column].iloc[0]]:
            yield Problem(
                int(row), column, f"differs from row {rows.index[0]}, which has the same scan."
            )


def _bad_names(scans: pd.DataFrame) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for row, name in scans.scan_id[scans.scan_id != ""].items():
        number = int(str(row))
        if wrong := check_name(name):
            yield Problem(number, "scan_id", f"{wrong}.")
        elif name.lower() in seen:
            yield Problem(
                number, "scan_id", f"is that of row {seen[name.lower()]}; give each its own."
            )
        else:
            seen[name.lower()] = number


def _names(scans: pd.DataFrame) -> list[str]:
    """The given ids; else those of the patients, numbered where one has several scans."""
    taken = {name.lower() for name in scans.scan_id}
    names = []
    for number, row in enumerate(scans.itertuples(), start=1):
        name = row.scan_id
        if not name:
            stem = row.patient_id if not check_name(row.patient_id) else f"scan-{number:03d}"
            tries = (stem, *(f"{stem}-{i}" for i in range(2, len(scans) + 2)))
            name = next(candidate for candidate in tries if candidate.lower() not in taken)
            taken.add(name.lower())
        names.append(name)
    return names


def single(path: PathLike, series: str | None, lungs: PathLike, lesions: PathLike = "") -> Request:
    """The request for one scan.

    Raises:
      InputError: there is no such file or folder.
    """
    for name in (path, lungs, lesions):
        if name and not os.path.exists(name):  # which a name that is too long does not raise
            raise InputError(f"{name}: no such file or folder; check the path.")
    return Request(str(path), series=series, lungs=str(lungs), lesions=str(lesions))

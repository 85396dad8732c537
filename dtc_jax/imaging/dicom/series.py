"""Which series of a folder is the scan."""

import dataclasses
import functools
import pathlib

import numpy as np
import pydicom

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import files, grid, slices
from dtc_jax.storage import PathLike

_CHEST = ("CHEST", "THORAX", "LUNG", "WHOLEBODY", "WHOLE BODY")


@dataclasses.dataclass(frozen=True)
class Series:
    """A CT series that is a regular grid.

    Attributes:
      slices: in order along the slice axis.
      affine: [4, 4]; maps (column, row, slice, 1) to RAS coordinates in mm.
      statement: which series this is, why it was chosen and what was passed over; safe to print.
    """

    slices: tuple[slices.Slice, ...]
    affine: np.ndarray
    statement: str


@files.unseen_values()
def find(path: PathLike, series: int | str | None = None) -> Series:
    """Finds the CT series of a folder and its subfolders, or of an enhanced (multi-frame) file.

    Args:
      path: a folder of DICOM files, or one such file.
      series: SeriesNumber or SeriesInstanceUID. None: the axial CT series with most slices, among
        those whose header names the chest if there are any.

    Raises:
      InputError: no CT series is there, or not this one; the choice would be between patients; or
        the series is not a regular grid in HU.
    """
    folder = files.look(path)
    grouped: dict[str, list[tuple[pathlib.Path, pydicom.Dataset]]] = {}
    for file, header in folder.images:
        grouped.setdefault(str(header.get("SeriesInstanceUID")), []).append((file, header))
    found = [_Candidate(key, images) for key, images in grouped.items()]
    others = [f"{n} × {kind}" for kind, n in sorted(folder.others.items())]
    if not found:
        there = ", ".join(others) or "no file at all"
        raise InputError(f"{path}: holds no CT series, but {there}; name the folder of a CT.")
    chosen, why = _choose(path, found, series)
    members = [one for image in chosen.images for one in slices.of_image(path, *image)]
    ordered, affine = grid.arrange(path, members)
    step_mm = np.linalg.norm(affine[:3, 2])
    passed = [f"{one.name} ({one.content})" for one in found if one is not chosen] + others
    studies = len({one.study for one in found})
    statement = f"{chosen.name}: {chosen.content} every {step_mm:.2f} mm; {why}."
    if passed:
        statement += f" Passed over: {', '.join(passed)}."
    if studies > 1:
        statement += f" The folder holds {studies} studies."
    return Series(ordered, affine, statement)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A CT series by its headers; what it says of itself is safe to print."""

    key: str
    images: list[tuple[pathlib.Path, pydicom.Dataset]]

    @property
    def _first(self) -> pydicom.Dataset:
        return self.images[0][1]

    @functools.cached_property
    def number(self) -> int | None:
        try:
            return int(self._first.SeriesNumber)
        except (AttributeError, TypeError, ValueError):
            return None

    @property
    def patient(self) -> str:
        return str(self._first.get("PatientID") or "")

    @property
    def study(self) -> str:
        return str(self._first.get("StudyInstanceUID"))

    @functools.cached_property
    def count(self) -> int:
        return sum(slices.count(header) for _, header in self.images)

    @functools.cached_property
    def plane(self) -> str:
        cosines = slices.orientation(self._first)
        if cosines is None:
            return "unplaced"
        return ("sagittal", "coronal", "axial")[np.abs(grid.normal(cosines)).argmax()]

    @functools.cached_property
    def shows_chest(self) -> bool:
        part = str(self._first.get("BodyPartExamined") or "").upper()
        return any(word in part for word in _CHEST)

    @property
    def name(self) -> str:
        return "a series without number" if self.number is None else f"series {self.number}"

    @property
    def content(self) -> str:
        return f"{self.count} {self.plane} CT slices{' of the chest' if self.shows_chest else ''}"


def _choose(
    path: PathLike, found: list[_Candidate], series: int | str | None
) -> tuple[_Candidate, str]:
    """The series to read, and why."""
    listed = "; ".join(f"{one.name}: {one.content}" for one in found)
    if series is not None:
        asked = str(series).strip()
        same = [one for one in found if asked in (one.key, str(one.number))]
        if not same:
            raise InputError(f"{path}: the series asked for is not there, but {listed}.")
        if len(same) > 1:
            raise InputError(
                f"{path}: {len(same)} series have the number {asked}; give the SeriesInstanceUID."
            )
        return same[0], "the one asked for"
    patients = len({one.patient for one in found})
    if patients > 1:
        raise InputError(
            f"{path}: holds CT series of {patients} patients; give each a folder of its own, or "
            f"name the series ({listed})."
        )
    axial = [one for one in found if one.plane == "axial"]
    if not axial:
        raise InputError(f"{path}: holds no axial CT series, but {listed}; name the series.")
    chest = [one for one in axial if one.shows_chest]
    best = max(chest or axial, key=lambda one: (one.count, -(one.number or 0)))
    if len(found) == 1:
        return best, "the only CT series"
    return best, f"the largest of {len(chest or axial)} axial CT series"

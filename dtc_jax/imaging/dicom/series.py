"""Selects the CT series of a folder."""

import contextlib
import dataclasses
import functools
import pathlib
import re
from collections.abc import Mapping

import numpy as np
import pydicom

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import continuation, files, grid, parameters, slices
from dtc_jax.storage import PathLike

_THIN = 0.9  # of the distance between slices
_ORIGINAL, _DERIVED, _PROJECTED = range(3)
_KINDS = ("", "derived ", "projected ")
# In a description, only a hint. Siemens writes CT_SOM5 MIP, enhanced images have MAX_IP.
_PROJECTION = re.compile(r"\b(MIP|M(AX|IN|EAN) ?IP|VRT|SSD|PROJECTION|(VOLUME|SURFACE) REND\w*)\b")
_REFORMATTED = re.compile(rf"{_PROJECTION.pattern}|\bMPR\b")
_CHEST = ("CHEST", "THORAX", "LUNG", "WHOLEBODY", "WHOLE BODY")


@dataclasses.dataclass(frozen=True)
class Series:
    """A CT series on a regular grid.

    Attributes:
      slices: sorted along the slice axis.
      affine: [4, 4]; maps (column, row, slice, 1) to RAS coordinates in mm.
      statement: which series this is, why it was chosen and what was ignored; safe to print.
      parameters: how it was acquired, by the columns of `parameters.COLUMNS`; safe to print.
      cut: that other series continue it, as a sentence; '' if none does; safe to print.
      unusual: the part of `statement` that should be looked at: slices that may be missing, several
        studies, and `cut`; '' if there is nothing; safe to print.
    """

    slices: tuple[slices.Slice, ...]
    affine: np.ndarray
    statement: str
    parameters: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    cut: str = ""
    unusual: str = ""


@files.suppress_header_values()
def find(path: PathLike, series: int | str | None = None) -> Series:
    """Finds the CT series of a folder and its subfolders, or of an enhanced (multi-frame) file.

    Args:
      path: a folder of DICOM files, or one such file.
      series: SeriesNumber or SeriesInstanceUID. None: the axial CT series with the most slices, if
        possible among the original ones (not reformatted), and among those whose header names the
        chest.

    Raises:
      InputError: there is no CT series, or not this one; there are series of several patients; the
        series is not a regular grid in HU; or a header is damaged.
    """
    try:
        return _find(path, series)
    except (InputError, MemoryError, OSError):  # not a fault of a header
        raise
    except Exception as error:  # text where a number belongs may raise anything
        raise InputError(
            f"{path}: a header has values that DICOM does not allow ({type(error).__name__}); copy "
            "the series again from its source."
        ) from error


def _find(path: PathLike, series: int | str | None) -> Series:
    folder = files.scan_folder(path)
    grouped: dict[str, list[tuple[pathlib.Path, pydicom.Dataset]]] = {}
    for file, header in folder.images:
        grouped.setdefault(str(header.get("SeriesInstanceUID")), []).append((file, header))
    candidates = [_Candidate(key, images) for key, images in grouped.items()]
    others = [f"{n} × {kind}" for kind, n in sorted(folder.others.items())]
    if not candidates:
        contents = ", ".join(others) or "no file at all"
        raise InputError(f"{path}: contains no CT series, but {contents}; give the folder of a CT.")
    chosen, reason = _choose(path, candidates, series)
    members = [part for image in chosen.images for part in slices.of_image(path, *image)]
    ordered, affine = grid.arrange(path, members)
    step_mm = np.linalg.norm(affine[:3, 2])
    ignored = [f"{c.name} ({c.content})" for c in candidates if c is not chosen] + others
    studies = len({candidate.study for candidate in candidates})
    statement = f"{chosen.name}: {chosen.content} every {step_mm:.2f} mm; {reason}."
    if ignored:
        statement += f" Ignored: {', '.join(ignored)}."
    cut = _cut(path, chosen, ordered, candidates)
    found = [
        *_between(ordered, float(step_mm), parameters.of_header(chosen.images[0][1])),
        *([f"The folder contains {studies} studies."] if studies > 1 else []),
        *([cut] if cut else []),
    ]
    return Series(
        ordered,
        affine,
        " ".join([statement, *found]),
        parameters.of_headers([header for _, header in chosen.images]),
        cut,
        " ".join(found),
    )


def _between(
    ordered: tuple[slices.Slice, ...], step_mm: float, acquired: Mapping[str, float | str]
) -> list[str]:
    """What a series of even steps does not show: slices that were left out, or never taken."""
    numbers = {one.number for one in ordered if one.number is not None}
    sentences = []
    if len(numbers) == len(ordered) and max(numbers) - min(numbers) >= len(numbers):
        missing = max(numbers) - min(numbers) + 1 - len(numbers)
        sentences.append(
            f"Its instance numbers go from {min(numbers)} to {max(numbers)}, and {missing} of "
            "them are missing."
        )
    thick_mm = float(acquired.get("slice_mm", step_mm))
    if thick_mm < _THIN * step_mm:
        sentences.append(
            f"Its slices are {thick_mm:.3g} mm thick: what lies between them is not shown."
        )
    return sentences


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A CT series by its headers; its name and content are safe to print."""

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
    def frame(self) -> str:
        return str(self._first.get("FrameOfReferenceUID") or "")

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
    def kind(self) -> int:
        """Original, derived from another series, or a projection of it (MIP, …)."""
        stated = self._first.get("ImageType") or ()
        words = " ".join([stated] if isinstance(stated, str) else stated).upper().replace("_", " ")
        if _PROJECTION.search(words):
            return _PROJECTED
        title = str(self._first.get("SeriesDescription") or "").upper().replace("_", " ")
        derived = {"DERIVED", "SECONDARY"} & {*words.split()}
        return _DERIVED if derived or _REFORMATTED.search(title) else _ORIGINAL

    @functools.cached_property
    def shows_chest(self) -> bool:
        part = str(self._first.get("BodyPartExamined") or "").upper()
        return any(word in part for word in _CHEST)

    @property
    def name(self) -> str:
        return "a series without number" if self.number is None else f"series {self.number}"

    @property
    def content(self) -> str:
        where = " of the chest" if self.shows_chest else ""
        return f"{self.count} {_KINDS[self.kind]}{self.plane} CT slices{where}"


def _cut(
    path: PathLike,
    chosen: _Candidate,
    ordered: tuple[slices.Slice, ...],
    candidates: list[_Candidate],
) -> str:
    """That series of the folder look like further parts of the same acquisition; or ''."""
    others = []
    for one in candidates:
        if one is not chosen and (one.study, one.kind) == (chosen.study, chosen.kind):
            with contextlib.suppress(InputError):  # without a place, it continues nothing
                parts = [part for image in one.images for part in slices.of_image(path, *image)]
                others.append(continuation.Part(f"{one.name} ({one.content})", one.frame, parts))
    own = continuation.Part(chosen.name, chosen.frame, ordered)
    found = continuation.continuing(own, others)
    if not found:
        return ""
    return (
        f"The acquisition seems to be cut: without a gap, {chosen.name} goes on in "
        f"{' and '.join(found)}, which was not read. Export them as one series."
    )


def _choose(
    path: PathLike, candidates: list[_Candidate], series: int | str | None
) -> tuple[_Candidate, str]:
    """The series to read, and the reason."""
    listed = "; ".join(f"{candidate.name}: {candidate.content}" for candidate in candidates)
    if series is not None:
        requested = str(series).strip()
        matches = [c for c in candidates if requested in (c.key, str(c.number))]
        if not matches:
            raise InputError(f"{path}: there is no such series; it contains {listed}.")
        if len(matches) > 1:
            raise InputError(
                f"{path}: {len(matches)} series have the number {requested}; give the "
                "SeriesInstanceUID."
            )
        return matches[0], "as requested"
    patients = len({candidate.patient for candidate in candidates})
    if patients > 1:
        raise InputError(
            f"{path}: contains CT series of {patients} patients; put each patient in a separate "
            f"folder, or choose the series ({listed})."
        )
    axial = [candidate for candidate in candidates if candidate.plane == "axial"]
    if not axial:
        raise InputError(f"{path}: contains no axial CT series, but {listed}; choose the series.")
    kind = min(candidate.kind for candidate in axial)
    if kind == _PROJECTED:
        raise InputError(
            f"{path}: contains no CT slices but projections of them (MIP), in {listed}; give the "
            "folder of the original series, or choose the series."
        )
    alike = [candidate for candidate in axial if candidate.kind == kind]
    chest = [candidate for candidate in alike if candidate.shows_chest]
    best = max(chest or alike, key=lambda candidate: (candidate.count, -(candidate.number or 0)))
    if len(candidates) == 1:
        return best, "the only CT series"
    which = "original " if len(alike) < len(axial) and kind == _ORIGINAL else ""
    among = chest or alike
    many = f"largest of {len(among)}" if len(among) > 1 else "only"
    where = " of the chest" if chest and len(chest) < len(alike) else ""
    return best, f"the {many} {which}axial CT series{where}"

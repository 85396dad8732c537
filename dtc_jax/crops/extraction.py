"""From a manifest's table to records: each scan is read once, by whichever core is free."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pandas as pd

from dtc_jax import progress
from dtc_jax.crops import processes, record
from dtc_jax.errors import InputError
from dtc_jax.imaging import ct, dicom, volume

Record = dict[str, Any]
T = TypeVar("T")
_SHOWN = 50  # bad lesions, at most
_NOTED = 3  # notes, at most


class Note(str):
    """What a user should know of how a scan was read; stands among its records."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan and its lesions.

    Attributes:
      image: path.
      lesions: of the scan; none of a healthy one.
      lungs: path of the mask of the lungs; '' where it is not given, or does not matter.
      ignore: path of the mask of what is neither lesion nor background; '' likewise.
      boxes_mm: of lesions without a mask, as the manifest has them; they are ignored as well.
      is_cube: whether the image is cut out about its lesion, and shows no whole lungs.
      patient_id: pseudonym.
      name: what is drawn elsewhere than about a lesion begins with it: the id of the first lesion,
        or of a scan without a mask of one PATIENT-healthy0, PATIENT-healthy1, … in the order of
        their paths.
    """

    image: str
    lesions: tuple[record.Lesion, ...]
    lungs: str = ""
    patient_id: str = ""
    name: str = ""
    ignore: str = ""
    boxes_mm: tuple[str, ...] = ()
    is_cube: bool = False

    def __post_init__(self):
        if self.lesions:
            object.__setattr__(self, "patient_id", self.lesions[0].patient_id)
            object.__setattr__(self, "name", self.lesions[0].lesion_id)

    def __len__(self) -> int:
        return len(self.lesions)

    @property
    def title(self) -> str:
        """What a message calls a scan: files may be named after people."""
        if self.lesions:
            return f"scan of lesion {self.name}"
        return f"scan without a lesion of patient {self.patient_id}"


def acquired(scans: Sequence[Scan]) -> pd.DataFrame | None:
    """How the scans that are DICOM were acquired, by lesion; None where none is.

    Returns:
      lesion_id and the columns of `dicom.parameters.COLUMNS` that a header has.
    """
    rows = [
        {"lesion_id": lesion.lesion_id, **parameters}
        for scan in scans
        if scan.lesions and dicom.is_scan(scan.image)
        for parameters in [dicom.find(scan.image).parameters]
        for lesion in scan.lesions
    ]
    return pd.DataFrame(rows) if rows else None


def scans(table: pd.DataFrame, whole: bool = False) -> list[Scan]:
    """The scans of a manifest's table, in the order of the records.

    Lesions are sorted by id, scans by their first lesion: the order of the manifest's rows, and
    the place of its files, change nothing (but for the order of a patient's scans without lesion).

    Args:
      table: of `manifest.read_manifest`.
      whole: whether the rest of the scan matters beside the lesions. Then the scans have all that
        is known of them, and those without an outlined lesion are among them: the last, by patient
        and file.
    """
    found: dict[str, list[record.Lesion]] = {}
    for row in table.dropna(subset="mask").sort_values("lesion_id").itertuples(index=False):
        label = None if math.isnan(row.mask_label) else int(row.mask_label)
        lesion = record.Lesion(row.patient_id, row.lesion_id, row.mask, label)
        found.setdefault(row.image, []).append(lesion)
    if not whole:
        return [Scan(image, tuple(lesions)) for image, lesions in found.items()]
    known = {image: _known(rows) for image, rows in table.groupby("image")}
    with_lesions = [Scan(image, tuple(own), **known[image]) for image, own in found.items()]
    others = table[~table.image.isin(found)]
    return with_lesions + [
        Scan(image, (), patient_id=patient, name=f"{patient}-healthy{i}", **known[image])
        for patient, rows in others.groupby("patient_id")
        for i, image in enumerate(sorted(rows.image.unique()))
    ]


def _known(rows: pd.DataFrame) -> dict[str, Any]:
    """What the rows of a scan say of it beside its outlined lesions: fields of `Scan`."""
    first = rows.iloc[0]
    return {
        "lungs": "" if pd.isna(first.lungs) else first.lungs,
        "ignore": "" if pd.isna(first.ignore) else first.ignore,
        "boxes_mm": tuple(rows.box_mm.dropna().sort_values()),
        "is_cube": first["view"] == "cube",
    }


def cut_scan(scan: Scan, params: record.CropParams) -> list[Record | InputError | Note]:
    """The records of a scan's lesions, which is read once; an error in the place of a bad one.

    Notes on the scan and on the masks follow them.
    """
    try:
        image = ct.read(scan.image)
    except InputError as error:
        return [_named(lesion, error) for lesion in scan.lesions]
    results: list[Record | InputError | Note] = []
    notes = notes_of(scan, image)
    for lesion in scan.lesions:
        try:
            mask = volume.read_mask(lesion.mask, image, lesion.mask_label)
            results.append(record.example(image, mask, lesion, params))
            advice = "If they are several lesions, give each a row with its mask_label."
            notes += [Note(f"lesion {lesion.lesion_id}: {note} {advice}") for note in mask.notes]
        except InputError as error:
            results.append(_named(lesion, error))
    return results + notes


def notes_of(scan: Scan, image: volume.Volume) -> list[Note]:
    """What a user should know of how a scan was read: corrections, and what is unusual in DICOM.

    Args:
      scan: that it is.
      image: of it, as `ct.read` reads it.
    """
    unusual = dicom.find(scan.image).unusual if dicom.is_scan(scan.image) else ""
    return [Note(f"{scan.title}: {note}") for note in (*image.notes, unusual) if note]


def extract(
    make: Callable[[T], list[Record | InputError | Note]],
    parts: Sequence[T],
    workers: int = 0,
    label: str = "cutting lesions, by scan",
) -> Iterator[Record]:
    """Yields the records of all `parts` in order, made on all cores, and shows the progress.

    What is noted of the scans goes to stderr, at the end.

    Args:
      make: as `cut_scan`; picklable.
      parts: what it is called with.
      workers: processes; 0: one for each core.
      label: of the progress.

    Raises:
      InputError: some lesions cannot be used. All parts are gone through, and all of them named.
    """
    bad: list[str] = []
    notes: list[str] = []
    results = processes.ordered_map(make, parts, workers)
    for part in progress.track(results, label, len(parts)):
        records, errors, noted = sort(part)
        bad += errors
        notes += noted
        if not bad:
            yield from records
    tell(bad, notes)


def sort(
    made: Sequence[Record | InputError | Note],
) -> tuple[list[Record], list[str], list[str]]:
    """What was made of a scan, as its records, the errors and the notes."""
    errors = [str(one) for one in made if isinstance(one, InputError)]
    notes = [str(one) for one in made if isinstance(one, Note)]
    return [one for one in made if isinstance(one, dict)], errors, notes


def tell(bad: Sequence[str], notes: Sequence[str]) -> None:
    """Prints on stderr what is noted of the scans, the first few.

    Raises:
      InputError: `bad` names lesions that cannot be used.
    """
    if notes:
        more = [f"… and {len(notes) - _NOTED} more notes"] if len(notes) > _NOTED else []
        print("\n".join([*notes[:_NOTED], *more]), file=sys.stderr, flush=True)
    if bad:
        more = [f"… and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        count = "1 lesion" if len(bad) == 1 else f"{len(bad)} lesions"
        raise InputError("\n  ".join([f"{count} cannot be used:", *bad[:_SHOWN], *more]))


def _named(lesion: record.Lesion, error: InputError) -> InputError:
    return InputError(f"lesion {lesion.lesion_id}: {error}")

"""From a manifest's table to records: each scan is read once, by whichever core is free."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pandas as pd

from dtc_jax import progress
from dtc_jax.crops import processes, record
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume

Record = dict[str, Any]
T = TypeVar("T")
_SHOWN = 50  # bad lesions, at most


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan and its lesions.

    Attributes:
      image: path.
      lesions: of the scan; none of a healthy one.
      lungs: path of the mask of the lungs; '' where it is not given, or does not matter.
      patient_id: pseudonym.
      name: what is drawn elsewhere than about a lesion begins with it: the id of the first lesion,
        or of a scan without one PATIENT-healthy0, PATIENT-healthy1, … in the order of their paths.
    """

    image: str
    lesions: tuple[record.Lesion, ...]
    lungs: str = ""
    patient_id: str = ""
    name: str = ""

    def __post_init__(self):
        if self.lesions:
            object.__setattr__(self, "patient_id", self.lesions[0].patient_id)
            object.__setattr__(self, "name", self.lesions[0].lesion_id)

    def __len__(self) -> int:
        return len(self.lesions)


def scans(table: pd.DataFrame, whole: bool = False) -> list[Scan]:
    """The scans of a manifest's table, in the order of the records.

    Lesions are sorted by id, scans by their first lesion: the order of the manifest's rows, and
    the place of its files, change nothing (but for the order of a patient's scans without lesion).

    Args:
      table: of `manifest.read_manifest`.
      whole: whether the lungs matter beside the lesions. Then the scans have their masks of the
        lungs, and those without a lesion are among them: the last, by patient and file.
    """
    found: dict[str, list[record.Lesion]] = {}
    for row in table.dropna(subset="lesion_id").sort_values("lesion_id").itertuples(index=False):
        label = None if math.isnan(row.mask_label) else int(row.mask_label)
        lesion = record.Lesion(row.patient_id, row.lesion_id, row.mask, label)
        found.setdefault(row.image, []).append(lesion)
    if not whole:
        return [Scan(image, tuple(lesions)) for image, lesions in found.items()]
    drawn = dict(zip(table.image, table.lungs.fillna(""), strict=True))
    with_lesions = [Scan(image, tuple(own), drawn[image]) for image, own in found.items()]
    return with_lesions + [
        Scan(image, (), drawn[image], patient, f"{patient}-healthy{i}")
        for patient, rows in table[table.lesion_id.isna()].groupby("patient_id")
        for i, image in enumerate(sorted(rows.image))
    ]


def cut_scan(scan: Scan, params: record.CropParams) -> list[Record | InputError]:
    """The records of a scan's lesions, which is read once; an error in the place of a bad one."""
    try:
        image = volume.read_image(scan.image)
    except InputError as error:
        return [_named(lesion, error) for lesion in scan.lesions]
    results: list[Record | InputError] = []
    for lesion in scan.lesions:
        try:
            results.append(record.example(image, lesion, params))
        except InputError as error:
            results.append(_named(lesion, error))
    return results


def extract(
    make: Callable[[T], list[Record | InputError]],
    parts: Sequence[T],
    workers: int = 0,
    label: str = "cutting lesions, by scan",
) -> Iterator[Record]:
    """Yields the records of all `parts` in order, made on all cores, and shows the progress.

    Args:
      make: as `cut_scan`; picklable.
      parts: what it is called with.
      workers: processes; 0: one for each core.
      label: of the progress.

    Raises:
      InputError: some lesions cannot be used. All parts are gone through, and all of them named.
    """
    bad: list[str] = []
    results = processes.ordered_map(make, parts, workers)
    for part in progress.track(results, label, len(parts)):
        for one in part:
            if isinstance(one, InputError):
                bad.append(str(one))
            elif not bad:
                yield one
    if bad:
        more = [f"… and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        count = "1 lesion" if len(bad) == 1 else f"{len(bad)} lesions"
        raise InputError("\n  ".join([f"{count} cannot be used:", *bad[:_SHOWN], *more]))


def _named(lesion: record.Lesion, error: InputError) -> InputError:
    return InputError(f"lesion {lesion.lesion_id}: {error}")

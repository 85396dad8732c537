"""The folder of a scan's answer: it appears complete, or not at all."""

import concurrent.futures
import contextlib
import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.imaging.dicom import Series, seg
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import manifest_rows
from dtc_jax.prediction.answer import NOTICE, Answer, Clock
from dtc_jax.report import review

RECORD = "run.json"
LUNGS = "lungs.nii.gz"
_OLDER = "OLDER-ANSWER.txt"
REVIEWED = ("scan.nii.gz", "lesions.nii.gz")  # what a review is made from, with lesions.csv
_OWN = {
    *REVIEWED,
    *("lesions.csv", "lesions.dcm", LUNGS, "heat_maps"),
    *("changes.csv", "review.html", "summary.json", RECORD, _OLDER),
    *(manifest_rows.FILE, manifest_rows.IGNORED),
}
_OLDER_TEXT = (
    "This answer is an older one. Predicting the scan again has failed; see scans.csv in the\n"
    "folder above for the reason."
)
_NONE_LEFT = "No lesion is left after the review; changes.csv says what became of each finding."
KINDS = ("prediction", "review")
_KEYS = {"scan", "lungs", "networks", "keep_identity", "seconds"}


def write(
    folder: pathlib.Path,
    answer: Answer,
    record: dict[str, Any],
    clock: Clock,
    *,
    title: str,
    facts: list[tuple[str, str]],
    dicom: tuple[Series, seg.Origin] | None,
    patient_id: str = "",
    keep_identity: bool = False,
    tables: Mapping[str, pd.DataFrame] | None = None,
    masks: Mapping[str, Volume] | None = None,
) -> None:
    """Writes an answer into `folder`; the files appear there together, once all are written.

    Args:
      folder: not there yet, or what is to be replaced.
      answer: to write.
      record: of run.json; 'dicom_seg', 'files', 'seconds' and 'notice' are added.
      clock: of the work so far.
      title: of the review page.
      facts: of its head, after those of the answer.
      dicom: what the DICOM SEG refers to, and who drew it; None where the scan is not DICOM.
      patient_id: pseudonym, for the DICOM SEG.
      keep_identity: whether the DICOM SEG identifies the patient as the series does.
      tables: further ones, by file name.
      masks: further ones on the grid of the scan, by file name.

    Raises:
      InputError: the disk is full, or `folder` cannot be written.
    """
    # Compression needs no lock of Python's, so the volumes are written while the page is made.
    with (
        storage.atomic_folder(folder) as partial,
        concurrent.futures.ThreadPoolExecutor(1) as beside,
    ):
        volumes = beside.submit(_write_volumes, partial, answer, masks or {})
        storage.write_table(partial / "lesions.csv", answer.table)
        for name, further in (tables or {}).items():
            storage.write_table(partial / name, further)
        if dicom is not None:
            record["dicom_seg"] = _write_seg(
                partial / "lesions.dcm", answer, *dicom, patient_id, keep_identity
            )
        figures = answer_lib.summary(answer)
        lines = [*_facts(figures), *facts]
        if seg_is_missing(record):
            lines.append(("DICOM SEG", record["dicom_seg"]))
        chest = review.make_overview(answer.image, answer.sides) if answer.sides else None
        about = review.About(title, answer.threshold, lines, answer.slices.source, chest)
        warnings = tuple(record["scan"].get("warnings", ()))  # an older answer has none
        about = dataclasses.replace(about, file=record["scan"]["scan_id"], warnings=warnings)
        if record["kind"] == "review":
            about = dataclasses.replace(about, none=_NONE_LEFT)
        review.write_page(partial / "review.html", answer_lib.findings(answer), about)
        storage.write_json(partial / "summary.json", figures)
        volumes.result()
        record["files"] = {name: storage.sha256(partial / name) for name in REVIEWED}
        clock.lap("write")
        record |= {"seconds": clock.seconds, "notice": NOTICE}
        storage.write_json(partial / RECORD, record)


def _write_volumes(folder: pathlib.Path, answer: Answer, masks: Mapping[str, Volume]) -> None:
    axes = answer.image.axes  # so that they fit the user's own file voxel by voxel
    volume.write(folder / "scan.nii.gz", answer.image, axes=axes)
    volume.write(folder / "lesions.nii.gz", answer.mask, axes=axes)
    for name, mask in masks.items():
        volume.write(folder / name, mask, axes=axes)
    if answer.sides is not None:
        volume.write(folder / LUNGS, answer.sides, axes=axes)
    for number, heat in answer.heat.items():
        volume.write(folder / "heat_maps" / f"lesion-{number:03d}.nii.gz", heat)


def check_own(folder: pathlib.Path) -> None:
    """Refuses to replace what `write` has not written, such as an edited mask kept beside it.

    Raises:
      InputError: `folder` is a file, or contains such files.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file in place of a folder; move it away.")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    count = sum(not name.startswith(".") for name in names - _OWN)
    if count:
        raise InputError(
            f"{folder}: is about to be replaced, but contains {count} files or folders that are "
            "not part of the answer; move them away first."
        )


def mark_older(folder: pathlib.Path) -> bool:
    """Marks the answer in a folder, if there is one, as not that of the last run.

    The answer stays where it is, with whatever a person has put beside it: if the disk was the
    problem and not the scan, the next run finds it valid again.

    Returns:
      Whether there is one.
    """
    if not (folder / RECORD).is_file():
        return False
    with contextlib.suppress(InputError, OSError):  # scans.csv says so as well
        storage.write_text(folder / _OLDER, f"{_OLDER_TEXT}\n{NOTICE}.\n")
    return True


def mark_current(folder: pathlib.Path) -> None:
    """Undoes `mark_older`."""
    (folder / _OLDER).unlink(missing_ok=True)


def read_record(folder: pathlib.Path) -> dict[str, Any]:
    """The run.json of `write`.

    Raises:
      InputError: `folder` is not that of a scan's answer.
    """
    if not (folder / RECORD).is_file():
        raise InputError(f"{folder}: not the folder of a predicted scan (it has no {RECORD}).")
    record = storage.read_json(folder / RECORD)
    whole = isinstance(record, dict) and _KEYS.issubset(record)
    if not whole or record.get("kind") not in KINDS:
        raise InputError(f"{folder}: its {RECORD} is not that of a predicted scan.")
    return record


def seg_is_missing(record: dict[str, Any]) -> bool:
    """Whether a scan is DICOM, but could not be referred to."""
    return str(record.get("dicom_seg", "")).startswith("not written")


def read_lesions(folder: pathlib.Path) -> pd.DataFrame:
    """The lesions.csv of `write`.

    Raises:
      InputError: it is missing, or not as it was written.
    """
    path = folder / "lesions.csv"
    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file; restore it, or predict into another --out."
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read; predict the scan into another --out.") from error
    expected = [name for name in answer_lib.COLUMNS if name not in answer_lib.LATER]
    missing = [name for name in expected if name not in table]
    if missing:
        raise InputError(
            f"{path}: has no column {missing[0]}; restore the file, or predict the scan into "
            "another --out."
        )
    try:
        return answer_lib.complete(table)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: a value of {', '.join(answer_lib.LATER)} was changed ({error}); restore the "
            "file, or predict the scan into another --out."
        ) from error


def table(answer: Answer, none: str, shown: int = 20) -> str:
    """The lesions as a few lines of text; `none` where there are none."""
    rows = answer.table[answer.is_shown]
    lines = ["lesion  axes mm      volume mm3  P(refractory)  decision"] if len(rows) else [none]
    for row in rows.head(shown).itertuples():
        axes = f"{row.long_axis_mm:.1f} × {row.short_axis_mm:.1f}"
        lines.append(
            f"{row.lesion_id:>6}  {axes:<11}  {row.volume_mm3:>10.0f}  "
            f"{row.refractory_probability:>13.3f}  {row.decision}"
        )
    if len(rows) > shown:
        lines.append(f"… and {len(rows) - shown} more")
    if len(rows) < len(answer.table):
        lines.append(f"{_below(len(answer.table) - len(rows))}; see lesions.csv")
    return "\n".join(lines)


def _below(count: int) -> str:
    return f"{count} finding{'s' if count > 1 else ''} below the threshold of a lesion"


def _facts(figures: dict[str, Any]) -> list[tuple[str, str]]:
    below = figures["findings_below_threshold"]
    apart = f", and {_below(below)}" if below else ""
    if not figures["lesions"]:
        return [("Lesions", f"none{apart}")]
    return [
        ("Lesions", f"{figures['lesions']}{apart}"),
        (
            "Predicted refractory",
            f"{figures['refractory_lesions']} ({figures['refractory_share']:.0%} of the lesions, "
            f"{figures['refractory_volume_share']:.0%} of their volume)",
        ),
        (
            "Probability of refractory",
            f"highest {figures['highest_probability']:.3f}, mean {figures['mean_probability']:.3f}",
        ),
    ]


def _write_seg(
    path: pathlib.Path,
    answer: Answer,
    series: Series,
    origin: seg.Origin,
    patient_id: str,
    keep_identity: bool,
) -> str:
    """Writes the DICOM SEG, or returns why not; the same lesions are in the NIfTI file."""
    if not answer.is_shown.any():
        return "not written: there is no lesion"
    if importlib.util.find_spec("highdicom") is None:
        return "not written: highdicom is not installed; pip install 'dtc-jax[dicom]'"
    try:
        seg.write_seg(
            path,
            answer.shown_mask,  # a viewer cannot fold away what is probably no lesion
            series,
            origin,
            patient_id=patient_id,
            keep_identity=keep_identity,
        )
    except InputError as error:
        return f"not written: {str(error).removeprefix(f'{os.fspath(path)}: ')}"
    except MemoryError:  # not the series' fault
        raise
    except Exception as error:  # an unusual header; highdicom's own message may quote it
        return f"not written: highdicom cannot refer to this series ({type(error).__name__})"
    return path.name

"""A review becomes the final answer: who changed what, and what the classifier says of it now."""

import hashlib
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import instances, lesions, volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.report import review
from dtc_jax.runs import environment
from dtc_jax.runs.prediction import answer as answer_lib
from dtc_jax.runs.prediction import folder as folder_lib
from dtc_jax.runs.prediction import requests, tools
from dtc_jax.runs.prediction import scan as scan_lib
from dtc_jax.runs.prediction.answer import NOTICE, Answer, Clock

FOLDER = "reviewed"
CHANGES = ("accepted", "rejected", "redrawn", "added", "removed", "unreviewed")
_RUNS = tuple("=+-@＝＋－＠")  # a spreadsheet would run a cell that begins so


def apply(
    folder: pathlib.Path,
    decisions: storage.PathLike,
    mask: storage.PathLike = "",
    scan: storage.PathLike = "",
    series: str | None = None,
    classifier: storage.PathLike = "",
    keep_identity: bool = False,
) -> Answer:
    """Makes the final answer in `folder`/reviewed, and changes.csv beside it.

    Args:
      folder: of a predicted scan.
      decisions: the CSV that the review page gives.
      mask: the edited instance mask; its numbers are the lesions'. '' for the one predicted.
      scan: the DICOM series, so that a DICOM SEG can refer to it; '' for none.
      series: of that folder; see `dicom.find`.
      classifier: folder of the run, if it has moved since.
      keep_identity: whether the DICOM SEG identifies the patient as the series does.

    Raises:
      InputError: `folder` holds no prediction; the review does not fit its lesions; the mask lies
        on another grid; the classifier or the scan is another one.
    """
    clock = Clock()
    before = folder_lib.read_record(folder)
    if before["kind"] != "prediction":
        raise InputError(f"{folder}: holds a review already; give the folder of the prediction.")
    image = volume.read_image(folder / "scan.nii.gz")
    old = _whole(folder / "lesions.nii.gz", image)
    table = pd.read_csv(folder / "lesions.csv")
    verdicts = review.read_decisions(decisions, set(table.lesion_id))
    drawn = _whole(pathlib.Path(mask), image) if mask else old
    final = _without(drawn, verdicts.lesion_id[verdicts.verdict == "reject"])
    source = requests.read(scan, series) if scan else None
    if source and source.fingerprint() != before["scan"]["fingerprint"]:
        raise InputError(f"{scan}: is not the scan that was predicted into {folder}.")
    clock.lap("read")
    judges, known = tools.load_classifier(classifier or _remembered(before))
    networks = before["networks"] | {"classifier": known}
    if tools.essence(networks) != tools.essence(before["networks"]):
        raise InputError(
            f"{known['workdir']}: is not the classifier that judged {folder}, or has changed "
            "since; give its folder by --classifier, or predict again."
        )
    clock.lap("networks")
    answer = answer_lib.judge(judges, image, final, _measured(image, old, final, table))
    clock.lap("classify and heat maps")
    record: dict[str, Any] = {
        "kind": "review",
        "scan": before["scan"],
        "lungs": before["lungs"],
        "networks": networks,
        "keep_identity": keep_identity,
        "versions": environment.versions(),
        "review": {
            "decisions": _sha256(decisions),
            "mask": _sha256(mask) if mask else None,
            "reviewers": sorted({name for name in verdicts.reviewer if name}),
        },
    }
    changed = _changes(old, drawn, table, answer.table, verdicts)
    counts = changed.change.value_counts()
    facts = [("Review", ", ".join(f"{counts[name]} {name}" for name in CHANGES if name in counts))]
    folder_lib.write(
        folder / FOLDER,
        answer,
        record,
        clock,
        title=before["scan"]["patient_id"] or before["scan"]["scan_id"],
        facts=[*facts, *scan_lib.facts(record)],
        dicom=(source.series, scan_lib.origin(networks, reviewed=True))
        if source and source.series
        else None,
        patient_id=before["scan"]["patient_id"],
        keep_identity=keep_identity,
        tables={"changes.csv": changed},
    )
    return answer


def _remembered(before: dict[str, Any]) -> str:
    workdir = before["networks"]["classifier"]["workdir"]
    if not pathlib.Path(workdir).is_dir():
        raise InputError(
            f"{workdir}: the classifier's run is no longer there; give its folder by --classifier."
        )
    return workdir


def _whole(path: pathlib.Path, like: Volume) -> Volume:
    """An instance mask on the grid of a scan.

    Raises:
      InputError: it cannot be read, lies on another grid or holds other than whole numbers from 0.
    """
    found = volume.read_image(path)
    try:
        volume.check_same_grid(path, found, like)
    except InputError as error:
        raise InputError(
            f"{error} 3D Slicer exports a labelmap on the grid of the scan if scan.nii.gz is "
            "chosen as its reference volume."
        ) from error
    array = np.rint(found.array)
    if array.min() < 0 or array.max() >= 2**16 or np.abs(array - found.array).max() > 1e-3:
        raise InputError(
            f"{path}: holds other numbers than those of lesions, which are whole and from 0 to "
            f"{2**16 - 1}; export the segmentation as a labelmap."
        )
    return Volume(array.astype(np.uint16), like.affine)


def _without(mask: Volume, numbers: pd.Series) -> Volume:
    return Volume(np.where(np.isin(mask.array, numbers), 0, mask.array), mask.affine)


def _measured(image: Volume, old: Volume, final: Volume, table: pd.DataFrame) -> pd.DataFrame:
    """The measures of the final lesions; those that are as they were found keep the segmenter's."""
    measured = instances.measure(image, final).set_index("lesion_id", drop=False)
    known = table.set_index("lesion_id")
    for number, box in lesions.numbered(final.array):
        if number in known.index and _same(old, final, number, box):
            for column in ("mean_probability", "max_probability"):
                measured.loc[number, column] = known.loc[number, column]
    return measured.reset_index(drop=True)


def _same(old: Volume, new: Volume, number: int, box: tuple[slice, ...]) -> bool:
    """Whether a lesion, whose box in `new` is given, has the same voxels in `old`."""
    inside = np.array_equal(old.array[box] == number, new.array[box] == number)
    count = np.count_nonzero(old.array == number)
    return inside and count == np.count_nonzero(new.array[box] == number)


def _changes(
    old: Volume, drawn: Volume, before: pd.DataFrame, after: pd.DataFrame, verdicts: pd.DataFrame
) -> pd.DataFrame:
    """A row a lesion that was found, or that is there now: what became of it, and who said so."""
    boxes = dict(lesions.numbered(drawn.array))
    said = verdicts.set_index("lesion_id")
    was, now = (one.set_index("lesion_id") for one in (before, after))
    rows = []
    for number in sorted({*was.index, *boxes}):
        verdict = said.verdict.get(number, "")
        if number not in was.index:
            change = "added"
        elif verdict == "reject":
            change = "rejected"
        elif number not in boxes:
            change = "removed"
        elif not _same(old, drawn, number, boxes[number]):
            change = "redrawn"
        else:
            change = "accepted" if verdict == "accept" else "unreviewed"
        rows.append(
            {
                "lesion_id": number,
                "change": change,
                "volume_before_mm3": was.volume_mm3.get(number),
                "volume_after_mm3": now.volume_mm3.get(number),
                "probability_before": was.refractory_probability.get(number),
                "probability_after": now.refractory_probability.get(number),
                "reviewer": _guarded(said.reviewer.get(number, "")),
                "comment": _guarded(said.comment.get(number, "")),
                "notice": NOTICE,
            }
        )
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    *("lesion_id", "change", "volume_before_mm3", "volume_after_mm3", "probability_before"),
    *("probability_after", "reviewer", "comment", "notice"),
]


def _guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(_RUNS) else text


def _sha256(path: storage.PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""From a review to the final answer: who changed what, and the classifier's new answer."""

import pathlib
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import instances, lesions, numbering, volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import Classifier
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import changes, manifest_rows, predictors, requests
from dtc_jax.prediction import folder as folder_lib
from dtc_jax.prediction import scan as scan_lib
from dtc_jax.prediction.answer import Answer, Clock
from dtc_jax.prediction.changes import Inputs
from dtc_jax.report import review

FOLDER = "reviewed"


def apply(
    folder: pathlib.Path,
    decisions: storage.PathLike,
    mask: storage.PathLike = "",
    scan: storage.PathLike = "",
    series: str | None = None,
    classifier: storage.PathLike = "",
    keep_identity: bool = False,
) -> Answer:
    """Makes the final answer in `folder`/reviewed, with changes.csv and manifest.csv beside it.

    Args:
      folder: of a predicted scan.
      decisions: the CSV that the review page gives.
      mask: the edited instance mask; its numbers are the lesions'. '' for the one predicted.
      scan: the DICOM series, so that a DICOM SEG can refer to it; '' for none.
      series: of that folder; see `dicom.find`.
      classifier: folder of the run or bundle, if it has moved since.
      keep_identity: whether the DICOM SEG identifies the patient as the series does.

    Raises:
      InputError: `folder` contains no prediction; the review does not fit its lesions; the mask is
        on another grid, or its numbers are not those of the lesions; the classifier or the scan is
        another one; `folder`/reviewed contains files that no review has written.
    """
    clock = Clock()
    before = folder_lib.read_record(folder)
    if before["kind"] != "prediction":
        raise InputError(f"{folder}: is a review itself; give the folder of the prediction.")
    folder_lib.check_own(folder / FOLDER)
    _check_files(folder, before.get("files", {}))
    inputs = _read(folder, decisions, mask)
    labels = review.read_labels(decisions)  # here, so that it is refused before a network runs
    if mask:
        changes.check_numbers(mask, inputs, labels)
    changes.check_labels(decisions, inputs, labels)
    source = requests.read(scan, series) if scan else None
    if source and source.fingerprint() != before["scan"]["fingerprint"]:
        raise InputError(f"{scan}: is not the scan of the prediction in {folder}.")
    clock.lap("read")
    decider, networks = _classifier(folder, before["networks"], classifier)
    clock.lap("networks")
    rejected = inputs.verdicts.lesion_id[inputs.verdicts.verdict == "reject"]
    final = _without(inputs.drawn, rejected)
    measured = _measured(inputs, final)
    sides = folder / folder_lib.LUNGS
    answer = answer_lib.make(
        decider,
        inputs.image,
        final,
        measured,
        _whole(sides, inputs.image) if sides.is_file() else None,  # an older answer has none
        numbering.of_record(before["scan"].get("slices", {})),
    )
    clock.lap("classify and heat maps")
    changed = changes.table(inputs, answer.table)
    rows, ignored = manifest_rows.make(before["scan"], answer, changed, labels)
    record: dict[str, Any] = {
        "kind": "review",
        "scan": before["scan"],
        "lungs": before["lungs"],
        **({"outlines": before["outlines"]} if "outlines" in before else {}),
        "networks": networks,
        "keep_identity": keep_identity,
        "versions": predictors.versions(networks),
        "review": _review(decisions, mask, inputs, changed),
    }
    series_found = source.series if source else None
    folder_lib.write(
        folder / FOLDER,
        answer,
        record,
        clock,
        title=before["scan"]["patient_id"] or before["scan"]["scan_id"],
        facts=[("Review", changes.counts(changed)), *scan_lib.facts(record)],
        dicom=(series_found, scan_lib.origin(networks, reviewed=True)) if series_found else None,
        patient_id=before["scan"]["patient_id"],
        keep_identity=keep_identity,
        tables={"changes.csv": changed, manifest_rows.FILE: rows},
        masks={manifest_rows.IGNORED: ignored} if ignored else {},
    )
    return answer


def _review(
    decisions: storage.PathLike, mask: storage.PathLike, inputs: Inputs, changed: pd.DataFrame
) -> dict[str, Any]:
    """What run.json says of a review: by which files, and by whom."""
    return {
        "decisions": storage.sha256(decisions),
        "mask": storage.sha256(mask) if mask else None,
        "reviewers": sorted({name for name in inputs.verdicts.reviewer if name}),
        "without_reviewer": changes.nameless(changed),
    }


def _check_files(folder: pathlib.Path, hashes: dict[str, str]) -> None:
    """Refuses what is no longer as the prediction has written it; an older one did not say."""
    for name, known in hashes.items():
        path = folder / name
        with storage.no_file_is_an_input_error(path, "the answer's own file"):
            found = storage.sha256(path)
        if found != known:
            raise InputError(
                f"{path}: was changed after the prediction. Restore it; or, to use an edited mask, "
                f"save it elsewhere, delete {folder}, predict again, and give it by --mask."
            )


def _read(folder: pathlib.Path, decisions: storage.PathLike, mask: storage.PathLike) -> Inputs:
    image = volume.read_image(folder / "scan.nii.gz")
    old = _whole(folder / "lesions.nii.gz", image)
    table = folder_lib.read_lesions(folder)
    drawn = _whole(mask, image) if mask else old
    predicted = set(table.lesion_id)
    added = {number for number, _ in lesions.numbered(drawn.array)} - predicted if mask else set()
    verdicts = review.read_decisions(decisions, predicted, added)
    review.check_same_answer(decisions, table)
    return Inputs(image, old, drawn, table, verdicts)


def _classifier(
    folder: pathlib.Path, before: dict[str, Any], workdir: storage.PathLike
) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of the prediction, and what run.json says of the networks."""
    decider, description = predictors.load_classifier(workdir or _remembered(before))
    networks = before | {"classifier": description}
    if not predictors.agree(networks, before):
        raise InputError(
            f"{description['workdir']}: is not the classifier that predicted {folder}, or has "
            "changed since; give its folder by --classifier, or predict again."
        )
    return decider, networks


def _remembered(before: dict[str, Any]) -> str:
    workdir = before["classifier"]["workdir"]
    if not pathlib.Path(workdir).is_dir():
        raise InputError(
            f"{workdir}: the classifier's run no longer exists; give its folder by --classifier."
        )
    return workdir


def _whole(path: storage.PathLike, like: Volume) -> Volume:
    """An instance mask on the grid of a scan.

    Raises:
      InputError: it cannot be read, is on another grid, or has values other than integers from 0.
    """
    drawn = volume.read_image(path)
    try:
        volume.check_same_grid(path, drawn, like)
    except InputError as error:
        raise InputError(
            f"{error} 3D Slicer exports a labelmap on the grid of the scan if scan.nii.gz is "
            "chosen as its reference volume."
        ) from error
    array = np.rint(drawn.array)
    if array.min() < 0 or array.max() > lesions.MOST or np.abs(array - drawn.array).max() > 1e-3:
        raise InputError(
            f"{path}: contains values that are not lesion numbers, which are integers from 0 to "
            f"{lesions.MOST}; export the segmentation as a labelmap."
        )
    return Volume(array.astype(np.uint16), like.affine)


def _without(mask: Volume, numbers: pd.Series) -> Volume:
    return Volume(np.where(np.isin(mask.array, numbers), 0, mask.array), mask.affine)


def _measured(inputs: Inputs, final: Volume) -> pd.DataFrame:
    """The measures of the final lesions; those that are as they were found keep the networks'.

    Where a network told lesions from false findings, the reader's word stands above it: what was
    accepted or drawn is a lesion.
    """
    measured = instances.measure(inputs.image, final).set_index("lesion_id", drop=False)
    before = inputs.table.set_index("lesion_id")
    kept = [number for number in measured.index if inputs.is_same(number)]
    columns = ["mean_probability", "max_probability", "lesion_probability", "is_lesion"]
    measured = measured.drop(columns=columns[:2]).join(before.loc[kept, columns])
    if before.is_lesion.notna().any():
        accepted = inputs.verdicts.lesion_id[inputs.verdicts.verdict == "accept"]
        measured.loc[~measured.index.isin(kept) | measured.index.isin(accepted), "is_lesion"] = True
    return measured.reset_index(drop=True)

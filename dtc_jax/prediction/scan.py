"""One scan from its files to the folder of its answer."""

import pathlib
from typing import Any

import numpy as np

from dtc_jax import versions
from dtc_jax.errors import InputError, no_memory_is_an_input_error
from dtc_jax.imaging import lungs, numbering
from dtc_jax.imaging.dicom import seg
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import folder as folder_lib
from dtc_jax.prediction import outlined, requests
from dtc_jax.prediction import predictors as predictors_lib
from dtc_jax.prediction.answer import Answer, Clock
from dtc_jax.prediction.predictors import Predictors
from dtc_jax.prediction.requests import Request, Scan

_SMALLER = (
    "Stop other programs there, use a machine or an accelerator with more memory, or crop the scan "
    "to the chest."
)


def predict(
    request: Request, predictors: Predictors, folder: pathlib.Path, keep_identity: bool
) -> Answer:
    """Finds and classifies the lesions of a scan, and writes what `folder.write` writes.

    Without a segmenter, the lesions are those of `request.lesions`.

    Raises:
      InputError: the scan, the mask of its lungs or the outlined lesions cannot be used, no lungs
        were found in which to look for lesions, or memory is too small.
    """
    clock = Clock()
    # Before it is read: if it changes now, the answer is found to be that of another scan.
    identity = {"stamp": request.stamp(), "contents": request.contents()}
    what = f"{request.path}: a scan that takes {request.size()} on disk"
    with no_memory_is_an_input_error(what, _SMALLER):
        scan = requests.read(request.path, request.series)
    clock.lap("read")
    shape = " × ".join(map(str, scan.image.shape))
    what = f"{request.path}: a scan of {shape} voxels (z, y, x)"
    with no_memory_is_an_input_error(what, _SMALLER):
        return _answer(request, scan, identity, predictors, folder, keep_identity, clock)


def _answer(
    request: Request,
    scan: Scan,
    identity: dict[str, str],
    predictors: Predictors,
    folder: pathlib.Path,
    keep_identity: bool,
    clock: Clock,
) -> Answer:
    """Makes and writes the answer to a scan that is read."""
    field = _lungs(request, scan)
    clock.lap("lungs")
    given = None
    if predictors.segmenter is None:
        given = outlined.read(request.lesions, scan.image)
    answer = answer_lib.of_scan(
        predictors,
        scan.image,
        field,
        given.mask if given else None,
        numbering.slices(scan.image, scan.series),
        clock,
    )
    record = {
        "kind": "prediction",
        "scan": _describe(request, scan, field, given.warning if given else "") | identity,
        "lungs": "not found" if field is None else "given" if request.lungs else "found",
        **({"outlines": given.statement} if given else {}),
        "networks": predictors.networks,
        "keep_identity": keep_identity,
        "versions": predictors_lib.versions(predictors.networks),
    }
    folder_lib.write(
        folder,
        answer,
        record,
        clock,
        title=request.title,
        facts=facts(record),
        dicom=(scan.series, origin(predictors.networks)) if scan.series else None,
        patient_id=request.patient_id,
        keep_identity=keep_identity,
    )
    return answer


def _describe(
    request: Request, scan: Scan, field: Volume | None, of_outlines: str
) -> dict[str, Any]:
    """What is remembered of a scan; nothing in it identifies the patient."""
    cut = [] if field is None else lungs.cut_off(field)
    beyond = f"The scan ends within the lungs ({', '.join(cut)}); what lies beyond is not judged."
    lost = [beyond] if cut else []
    split = scan.series.cut if scan.series else ""
    return {
        "scan_id": request.scan_id,
        "patient_id": request.patient_id,
        "fingerprint": scan.fingerprint(),
        "shape_zyx": list(scan.image.shape),
        "spacing_mm_zyx": np.round(scan.image.spacing_mm, 4).tolist(),
        "series": scan.series.statement if scan.series else None,
        "slices": numbering.slices(scan.image, scan.series).record(),
        "notes": [*scan.image.notes, *lost],
        "warnings": [*lost, *filter(None, (split, of_outlines))],
    }


def facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines for the head of a review page."""
    networks, scan = record["networks"], record["scan"]
    lines = [(f"The {name}", one["about"]) for name, one in networks.items() if one.get("about")]
    lines.append(
        ("Threshold", f"{networks['classifier']['threshold']:.3f}, of the classifier's run")
    )
    if "candidates" in networks:
        value = networks["candidates"]["threshold"]
        lines.append(("Second look", f"threshold {value:.3f}, of its own run"))
    elif threshold := networks.get("segmenter", {}).get("lesion_threshold"):
        text = f"highest probability of at least {threshold:.6g}, by the segmenter's run"
        lines.append(("Taken for a lesion", text))
    if scan["series"]:
        lines.append(("Series", scan["series"]))
    shape = " × ".join(map(str, scan["shape_zyx"]))
    spacing = " × ".join(f"{side:.2f}" for side in scan["spacing_mm_zyx"])
    lines.append(("Scan", f"{shape} voxels of {spacing} mm (z, y, x); lungs {record['lungs']}"))
    if "outlines" in record:
        lines.append(("Lesions", record["outlines"]))
    lines.append(("Slice numbers", numbering.of_record(scan.get("slices", {})).source))
    told = scan.get("warnings", [])  # at the head of the page; an older answer has no notes
    lines += [("As read", note) for note in scan.get("notes", []) if note not in told]
    for name, network in networks.items():
        count = "" if network["networks"] == 1 else f"{network['networks']} networks, "
        lines.append((name.capitalize(), f"{count}weights {network['weights'][:12]}"))
    lines.append(("Software", f"dtc-jax {record['versions'].get('dtc-jax', 'from a clone')}"))
    return lines


def origin(networks: dict[str, dict[str, Any]], reviewed: bool = False) -> seg.Origin:
    """Who drew the lesions, for the DICOM SEG: a person, where there is no segmenter."""
    version = versions.installed().get("dtc-jax", "clone")
    if "segmenter" not in networks:
        return seg.Origin("dtc-jax", version, reviewed, manual=True)
    weights = networks["segmenter"]["weights"][:12]
    return seg.Origin("dtc-jax SE V-Net", f"{version}, weights {weights}", reviewed)


def is_done(
    request: Request, predictors: Predictors, folder: pathlib.Path, keep_identity: bool
) -> bool:
    """Whether `folder` contains the answer to this very request by the same networks.

    Raises:
      InputError: it contains another answer that has been reviewed already.
    """
    if not (folder / folder_lib.RECORD).is_file():
        return False
    same = is_answered(request, predictors, folder, keep_identity) and _is_of(
        folder_lib.read_record(folder)["scan"], request
    )
    if not same and (folder / "reviewed").exists():
        raise InputError(
            f"{folder}: contains a reviewed answer to an earlier version of the scan or of the "
            "networks; choose another --out."
        )
    return same


def is_answered(
    request: Request, predictors: Predictors, folder: pathlib.Path, keep_identity: bool
) -> bool:
    """Whether `folder` contains an answer by these networks, whatever the files of the scan."""
    if not (folder / folder_lib.RECORD).is_file():
        return False
    record = folder_lib.read_record(folder)
    return (
        record["kind"] == "prediction"
        and predictors_lib.agree(record["networks"], predictors.networks)
        and record["keep_identity"] == keep_identity
        and record["scan"]["patient_id"] == request.patient_id
    )


def _is_of(scan: dict[str, Any], request: Request) -> bool:
    """Whether an answer is that of these files, which are read only where they may have changed."""
    return scan["stamp"] == request.stamp() or scan.get("contents") == request.contents()


def _lungs(request: Request, scan: Scan) -> Volume | None:
    """The lungs; None where they are not found and not needed, as the lesions are outlined."""
    try:
        return lungs.given_or_found(scan.image, request.lungs)
    except InputError as error:
        if request.lungs:
            raise
        if request.lesions:
            return None
        raise InputError(f"{request.path}: {error}") from error

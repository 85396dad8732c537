"""`--mode=predict`: from a CT to an answer for each lesion, and from a review to the final one."""

import os
import pathlib
from collections.abc import Sequence

from dtc_jax import storage
from dtc_jax.archive import address, dicomweb
from dtc_jax.archive import send as send_lib
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import dicom
from dtc_jax.prediction import batch, predictors, requests, review_batch, reviewed
from dtc_jax.prediction import folder as folder_lib
from dtc_jax.prediction import scan as scan_lib
from dtc_jax.prediction.answer import NOTICE, Answer
from dtc_jax.storage import PathLike


def run(
    out: PathLike,
    segmenter: PathLike,
    classifier: PathLike,
    *,
    scan: PathLike = "",
    scans: PathLike = "",
    series: str | None = None,
    lungs: PathLike = "",
    lesions: PathLike = "",
    candidates: PathLike = "",
    keep_identity: bool = False,
    send: str = "",
) -> None:
    """Finds the lesions of one scan, or of those of a CSV, and says which are RAI-refractory.

    Args:
      out: folder of the answer; of many scans, each has a folder of its own in it.
      segmenter: folder of a trained run or of a bundle; '' with `lesions`.
      classifier: folder of a trained run or of a bundle.
      scan: NIfTI, NRRD, MHA or a DICOM folder; or the address of a series, see `archive.address`.
      scans: a CSV of many instead; see `requests.read_csv`.
      series: SeriesNumber or SeriesInstanceUID of the one scan.
      lungs: mask of the lungs of the one scan; '' to find them.
      lesions: mask or CSV of the lesions of the one scan, where they are outlined already; see
        `outlined.read`.
      candidates: folder of a run or bundle that tells lesions from false findings, which are then
        folded away on the page; '' for none.
      keep_identity: whether a DICOM SEG names the patient as the series does.
      send: address to which the DICOM SEG of the one scan is sent; '' for none.

    Raises:
      InputError: a network, a scan or `out` cannot be used; of many scans, if some failed; or the
        DICOM SEG was not sent, and the answer stays.
      UsageError: not one of `scan` and `scans` is given, not one of `segmenter` and `lesions`, or
        `out` is inside the folder of a scan.
    """
    if bool(scan) == bool(scans):
        raise UsageError("give --scan=PATH for one scan, or --scans=CSV for many.")
    if bool(segmenter) == bool(lesions):
        raise UsageError("give --segmenter to find lesions, or --lesions=MASK|CSV of a scan.")
    folder, target = pathlib.Path(out).resolve(), _target(send, scan)
    if scans:
        wanted = requests.read_csv(scans)
        _check_apart(folder, out, wanted)
        if any(address.is_address(request.path) for request in wanted):
            dicomweb.check()
        networks = predictors.load(segmenter, classifier, candidates)
        batch.predict(wanted, networks, folder, keep_identity)
        return
    _check_address(scan, series)
    if not address.is_address(scan):
        _check_apart(folder, out, [requests.single(scan, series, lungs, lesions)])
    networks = predictors.load(segmenter, classifier, candidates)  # before anything is fetched
    with dicomweb.fetched(scan) as path:
        _one(requests.single(path, series, lungs, lesions), networks, folder, keep_identity, out)
    if target:
        _send(folder, target, keep_identity)


def _one(
    request: requests.Request,
    networks: predictors.Predictors,
    folder: pathlib.Path,
    keep_identity: bool,
    out: PathLike,
) -> None:
    """Predicts one scan into `folder`, unless its answer is there."""
    if scan_lib.is_done(request, networks, folder, keep_identity):
        folder_lib.mark_current(folder)
        print(f"{out}: already contains this answer; nothing was computed again.")
        return
    batch.check_free(folder)
    answer = scan_lib.predict(request, networks, folder, keep_identity)
    _report(answer, folder)


def review(
    out: PathLike,
    decisions: PathLike,
    *,
    mask: PathLike = "",
    scan: PathLike = "",
    series: str | None = None,
    classifier: PathLike = "",
    keep_identity: bool = False,
    send: str = "",
) -> None:
    """Makes the final answer of a reviewed scan, or of those of a batch that are reviewed.

    See `reviewed.apply` and, where `decisions` is a folder, `review_batch.apply`.

    Raises:
      InputError: see there.
    """
    folder, target = pathlib.Path(out).resolve(), _target(send, scan)
    if review_batch.is_batch(folder):
        if not os.path.isdir(decisions):
            raise InputError(
                f"{out}: contains many scans; give the folder of the reviewed one in it, or as "
                "--review a folder of reviews."
            )
        if mask or scan or series or keep_identity or send:
            raise UsageError("--review=FOLDER takes no other flag than --out and --classifier.")
        review_batch.apply(folder, pathlib.Path(decisions), classifier)
        return
    _check_address(scan, series)
    with dicomweb.fetched(scan) as path:
        answer = reviewed.apply(folder, decisions, mask, path, series, classifier, keep_identity)
    _report(answer, folder / reviewed.FOLDER)
    if target:
        _send(folder / reviewed.FOLDER, target, keep_identity)


def _check_address(scan: PathLike, series: str | None) -> None:
    if address.is_address(scan):
        address.series(str(scan))
        if series:
            raise UsageError("--scan is the address of one series; omit --series.")


def _target(send: str, scan: PathLike) -> address.Service | address.Node | None:
    """Where the DICOM SEG is sent; refused before any work where it cannot be."""
    if not send:
        return None
    known = address.is_address(scan) or not os.path.exists(scan)  # if not there, it will be said
    if not scan or not (known or dicom.is_scan(scan)):
        raise UsageError(
            "--send sends a DICOM SEG, which needs a DICOM series; give one as --scan."
        )
    return send_lib.target(send)


def _send(
    folder: pathlib.Path, target: address.Service | address.Node, keep_identity: bool
) -> None:
    path, record = folder / "lesions.dcm", folder_lib.read_record(folder)
    if path.is_file():
        print(send_lib.send(path, target))
        if not keep_identity:
            print(
                "It does not name the patient. To have the archive file it with its CT, give "
                "--keep-identity."
            )
    elif not storage.read_json(folder / "summary.json")["lesions"]:
        print("There is no lesion, so nothing was sent.")
    else:
        raise InputError(f"{folder}: no DICOM SEG to send: {record['dicom_seg']}.")


def _check_apart(folder: pathlib.Path, out: PathLike, wanted: Sequence[requests.Request]) -> None:
    """Refuses to write among the files of a scan.

    What is written there would count as part of the scan, which would then look changed to the same
    command.
    """
    for request in wanted:
        for path in filter(None, (request.path, request.lungs, request.lesions)):
            if os.path.isdir(path) and folder.is_relative_to(pathlib.Path(path).resolve()):
                raise UsageError(
                    f"--out={out}: is inside {path}, a scan; choose a folder beside it."
                )


def _report(answer: Answer, folder: pathlib.Path) -> None:
    record = folder_lib.read_record(folder)
    if record["scan"]["series"]:
        print(record["scan"]["series"])
    for note in record["scan"].get("notes", []):
        print(note)
    of_review = record["kind"] == "review"
    print(folder_lib.table(answer, "no lesion is left" if of_review else "no lesion was found"))
    if of_review and record["review"]["without_reviewer"]:
        numbers = ", ".join(map(str, record["review"]["without_reviewer"]))
        print(
            f"No reviewer is named for lesion {numbers}; fill in the review's column reviewer. A "
            "lesion that is only in the mask may have a row there, too."
        )
    if folder_lib.seg_is_missing(record):
        print(f"DICOM SEG {record['dicom_seg']}")
    spent = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in record["seconds"].items())
    print(f"{spent}. Everything is in {folder}/ (review.html first).")
    print(f"{NOTICE}.")

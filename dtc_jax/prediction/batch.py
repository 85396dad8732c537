"""Many scans: a folder each, a bad one does not stop the rest, a stopped batch goes on."""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.archive import dicomweb
from dtc_jax.errors import InputError, one_line
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import folder as folder_lib
from dtc_jax.prediction import predictors as predictors_lib
from dtc_jax.prediction import scan as scan_lib
from dtc_jax.prediction.answer import NOTICE
from dtc_jax.prediction.predictors import Predictors
from dtc_jax.prediction.requests import Request

CLAIM = "batch.json"
_AS_READ = ("series", "notes", "dicom_seg")
COLUMNS = (  # of scans.csv
    *("scan_id", "patient_id", "status", "message", "lesions", "seconds"),
    *(*_AS_READ, "notice"),
)


def predict(
    requests: Sequence[Request], predictors: Predictors, out: pathlib.Path, keep_identity: bool
) -> None:
    """Predicts each scan into `out`/SCAN_ID, and lists them in scans.csv and lesions.csv.

    Raises:
      InputError: `out` belongs to something else; or some scans failed, once all others are done.
    """
    _claim(out, predictors, keep_identity)
    rows: list[dict[str, Any]] = []
    for request in progress.track(requests, "scans"):
        rows.append(_one(request, predictors, out / request.scan_id, keep_identity))
        storage.write_table(out / "scans.csv", pd.DataFrame(rows).assign(notice=NOTICE)[[*COLUMNS]])
        print(f"{request.scan_id}: {_outcome(rows[-1])}", flush=True)
    _write_lesions(requests, rows, out)
    failed = [row for row in rows if row["status"] == "failed"]
    print(f"{len(rows) - len(failed)} of {len(rows)} scans are done; see {out / 'scans.csv'}.")
    print(f"{NOTICE}.")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(rows)} scans failed; see {out / 'scans.csv'} for the reasons. "
            "Fix them and run the same command again; finished scans are not repeated."
        )


def _one(
    request: Request, predictors: Predictors, folder: pathlib.Path, keep_identity: bool
) -> dict[str, Any]:
    """The row of a scan in scans.csv."""
    start = time.monotonic()
    row: dict[str, Any] = {"scan_id": request.scan_id, "patient_id": request.patient_id}
    local = None  # the request once its files are here
    try:
        with dicomweb.fetched(request.path) as path:
            local = dataclasses.replace(request, path=str(path))
            if scan_lib.is_done(local, predictors, folder, keep_identity):
                return row | _done_before(folder, "was done before")
            folder_lib.check_own(folder)
            answer = scan_lib.predict(local, predictors, folder, keep_identity)
    except ImportError:  # not the scan's fault
        raise
    except Exception as error:  # a batch goes on whatever one scan does
        text = _message(error, local or request)
        if local is None and scan_lib.is_answered(request, predictors, folder, keep_identity):
            # The archive is not there, which says nothing against the answer.
            return row | _done_before(folder, f"was done before; not compared again: {text}")
        if folder_lib.mark_older(folder):
            text = (
                f"{text.rstrip('.')}. {request.scan_id}/ contains an older answer, not this run's."
            )
        failed = {"status": "failed", "message": text, "lesions": None}
        seconds = {"seconds": round(time.monotonic() - start, 1)}
        return row | failed | seconds | dict.fromkeys(_AS_READ, "")
    return row | _done(folder, answer_lib.summary(answer)["lesions"], time.monotonic() - start, "")


def _message(error: Exception, request: Request) -> str:
    """What went wrong, without the paths of a scan, which may identify the patient.

    The table is passed on more often than what the terminal shows.
    """
    jax = sys.modules.get("jax")  # imported where a run needs it
    if not isinstance(error, (InputError, OSError, *([jax.errors.JaxRuntimeError] if jax else []))):
        # Its text may quote what a header says.
        return f"an unexpected error ({type(error).__name__}); predict it by --scan to see where."
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}. Check the path and its permissions."
    named = [
        (request.path, "the scan"),
        (request.lungs, "the lungs"),
        (request.lesions, "the mask of its lesions"),
    ]
    for path, name in sorted(named, key=lambda pair: -len(pair[0])):  # longest first
        for written in (path, repr(path)[1:-1]):
            text = text.replace(written, name) if path else text
    return one_line(text) or type(error).__name__  # blanks of a path have gone with it


def _done_before(folder: pathlib.Path, message: str) -> dict[str, Any]:
    folder_lib.mark_current(folder)
    figures = storage.read_json(folder / "summary.json")
    seconds = sum(folder_lib.read_record(folder)["seconds"].values())
    return _done(folder, figures["lesions"], seconds, message)


def _done(folder: pathlib.Path, lesions: int, seconds: float, message: str) -> dict[str, Any]:
    record = folder_lib.read_record(folder)
    as_read = (
        record["scan"]["series"] or "",
        " ".join(record["scan"].get("notes", [])),
        record.get("dicom_seg", ""),
    )
    done = {"status": "done", "message": message, "lesions": lesions, "seconds": round(seconds, 1)}
    return done | dict(zip(_AS_READ, as_read, strict=True))


def _outcome(row: dict[str, Any]) -> str:
    if row["status"] == "failed":
        return f"failed: {row['message']}"
    count = "1 lesion" if row["lesions"] == 1 else f"{row['lesions']} lesions"
    done = f"{count}, {row['message'] or str(row['seconds']) + ' s'}"
    told = [row["notes"]] * bool(row["notes"])
    if row["dicom_seg"].startswith("not written"):
        told.append(f"DICOM SEG {row['dicom_seg']}")
    return " ".join([f"{done}.", *told]) if told else done


def _claim(out: pathlib.Path, predictors: Predictors, keep_identity: bool) -> None:
    """Makes `out` the folder of a batch by these networks, or checks that it already is."""
    networks = predictors_lib.essence(predictors.networks)
    path = out / CLAIM
    if path.is_file():
        former = storage.read_json(path)
        if not isinstance(former, dict) or not {"networks", "keep_identity"} <= set(former):
            raise InputError(f"{path}: does not belong to a batch; choose another --out.")
        names = dict.fromkeys([*networks, *former["networks"]])
        pairs = {name: (networks.get(name, {}), former["networks"].get(name, {})) for name in names}
        different = [
            name
            for name, pair in pairs.items()
            if not predictors_lib.agree(*({name: one} for one in pair))
        ]
        if keep_identity != former["keep_identity"]:
            different.append("--keep_identity")
        if different:
            raise InputError(
                f"{out}: contains a batch with another {' and another '.join(different)}; choose "
                "another --out."
            )
        return
    check_free(out)
    storage.write_json(
        path, {"networks": networks, "keep_identity": keep_identity, "notice": NOTICE}
    )


def check_free(out: pathlib.Path) -> None:
    """Refuses to write into a folder that is not empty.

    Raises:
      InputError: it is not, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose another --out.")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: already contains something else; choose another --out.")


def _write_lesions(
    requests: Sequence[Request], rows: Sequence[dict[str, Any]], out: pathlib.Path
) -> None:
    """Writes the lesions of all scans that are done as one table."""
    parts = [pd.DataFrame(columns=["scan_id", "patient_id", *answer_lib.COLUMNS])]
    for request, row in zip(requests, rows, strict=True):
        if row["status"] == "done":
            part = folder_lib.read_lesions(out / request.scan_id)
            part.insert(0, "patient_id", request.patient_id)
            part.insert(0, "scan_id", request.scan_id)
            parts += [part] if len(part) else []
    lesions = pd.concat(parts[1:] or parts, ignore_index=True)
    storage.write_table(out / "lesions.csv", lesions)

"""Many scans: a folder each, a bad one does not stop the rest, a stopped batch goes on."""

import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.errors import InputError
from dtc_jax.runs.prediction import folder as folder_lib
from dtc_jax.runs.prediction import scan as scan_lib
from dtc_jax.runs.prediction import tools
from dtc_jax.runs.prediction.answer import COLUMNS, NOTICE
from dtc_jax.runs.prediction.requests import Request
from dtc_jax.runs.prediction.tools import Tools

CLAIM = "batch.json"


def predict(
    requests: Sequence[Request], own: Tools, out: pathlib.Path, keep_identity: bool
) -> None:
    """Predicts each scan into `out`/SCAN_ID, and lists them in scans.csv and lesions.csv.

    Raises:
      InputError: `out` belongs to something else; or some scans failed, once all others are done.
    """
    _claim(out, own, keep_identity)
    rows: list[dict[str, Any]] = []
    for request in progress.track(requests, "scans"):
        rows.append(_one(request, own, out / request.scan_id, keep_identity))
        storage.write_table(out / "scans.csv", pd.DataFrame(rows).assign(notice=NOTICE))
        print(f"{request.scan_id}: {_said(rows[-1])}", flush=True)
    _write_lesions(requests, rows, out)
    failed = [row for row in rows if row["status"] == "failed"]
    print(f"{len(rows) - len(failed)} of {len(rows)} scans are done; see {out / 'scans.csv'}.")
    print(f"{NOTICE}.")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(rows)} scans failed; why, says {out / 'scans.csv'}. Mend them "
            "and run the same command again: what is done is not done twice."
        )


def _one(request: Request, own: Tools, folder: pathlib.Path, keep_identity: bool) -> dict[str, Any]:
    """The row of a scan in scans.csv."""
    start = time.monotonic()
    row: dict[str, Any] = {"scan_id": request.scan_id, "patient_id": request.patient_id}
    try:
        if scan_lib.is_done(request, own, folder, keep_identity):
            folder_lib.mark_current(folder)
            figures = storage.read_json(folder / "summary.json")
            seconds = sum(folder_lib.read_record(folder)["seconds"].values())
            return row | _done(figures["lesions"], seconds, "was done before")
        folder_lib.check_own(folder)
        answer = scan_lib.predict(request, own, folder, keep_identity)
    except (InputError, OSError, jax.errors.JaxRuntimeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        text = _unnamed(text, request)
        if folder_lib.mark_older(folder):
            text = f"{text.rstrip('.')}. {request.scan_id}/ holds an older answer, not this run's."
        failed = {"status": "failed", "message": text, "lesions": None}
        return row | failed | {"seconds": round(time.monotonic() - start, 1)}
    return row | _done(len(answer.table), time.monotonic() - start, "")


def _unnamed(text: str, request: Request) -> str:
    """A message without the paths of a scan, which may say whose it is.

    The table goes further than the terminal.
    """
    named = [(request.path, "the scan"), (request.lungs, "the lungs")]
    for path, name in sorted(named, key=lambda one: -len(one[0])):  # one may begin as the other
        text = text.replace(path, name) if path else text
    return text


def _done(lesions: int, seconds: float, message: str) -> dict[str, Any]:
    done = {"status": "done", "message": message, "lesions": lesions}
    return done | {"seconds": round(seconds, 1)}


def _said(row: dict[str, Any]) -> str:
    if row["status"] == "failed":
        return f"failed: {row['message']}"
    count = "1 lesion" if row["lesions"] == 1 else f"{row['lesions']} lesions"
    return f"{count}, {row['message'] or str(row['seconds']) + ' s'}"


def _claim(out: pathlib.Path, own: Tools, keep_identity: bool) -> None:
    """Makes `out` the folder of a batch by these networks, or checks that it already is."""
    mine = tools.essence(own.known)
    path = out / CLAIM
    if path.is_file():
        there = storage.read_json(path)
        if not isinstance(there, dict) or not {"networks", "keep_identity"} <= set(there):
            raise InputError(f"{path}: is not that of a batch; name a new --out.")
        different = [name for name, one in mine.items() if one != there["networks"].get(name)]
        if keep_identity != there["keep_identity"]:
            different.append("--keep_identity")
        if different:
            raise InputError(
                f"{out}: holds a batch with another {' and another '.join(different)}; name a new "
                "--out."
            )
        return
    check_free(out)
    storage.write_json(path, {"networks": mine, "keep_identity": keep_identity, "notice": NOTICE})


def check_free(out: pathlib.Path) -> None:
    """Refuses to write into a folder that holds something.

    Raises:
      InputError: it does, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a new --out.")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: holds something else already; name a new --out.")


def _write_lesions(
    requests: Sequence[Request], rows: Sequence[dict[str, Any]], out: pathlib.Path
) -> None:
    """Writes the lesions of all scans that are done as one table."""
    parts = [pd.DataFrame(columns=["scan_id", "patient_id", *COLUMNS])]
    for request, row in zip(requests, rows, strict=True):
        if row["status"] == "done" and row["lesions"]:
            part = folder_lib.read_lesions(out / request.scan_id)
            part.insert(0, "patient_id", request.patient_id)
            part.insert(0, "scan_id", request.scan_id)
            parts.append(part)
    found = pd.concat(parts[1:] or parts, ignore_index=True)
    storage.write_table(out / "lesions.csv", found)

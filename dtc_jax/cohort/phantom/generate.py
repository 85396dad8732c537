"""Writes a phantom cohort into a folder."""

import concurrent.futures
import contextlib
import functools
import os
import pathlib
import shutil
from collections.abc import Iterator

import pandas as pd

from dtc_jax import locks, progress, storage
from dtc_jax.cohort.phantom import people, scan
from dtc_jax.cohort.phantom.spec import PhantomSpec, attainable_auc, contents, fingerprint
from dtc_jax.cohort.selection import EVIDENCE
from dtc_jax.errors import InputError, UsageError

_MANIFEST = "lesions.csv"
_SPEC = "spec.json"
_FINISHED = "finished"  # of the unfinished cohort: what `scan.write` said of each patient
_COLUMNS = (
    *("patient_id", "lesion_id", "image", "mask", "mask_label", "cohort", "center", "label"),
    *("diameter_mm", "age", "sex", "scan_order", "scanner", "kvp", "slice_mm"),
    *EVIDENCE,
)
_MOST_THREADS = 8  # each keeps a few copies in memory of a scan


def generate(folder: storage.PathLike, spec: PhantomSpec) -> pathlib.Path:
    """Writes the cohort `spec` into `folder`, all of it or nothing; once written, it is kept.

    The folder then contains scans/ and masks/ (one NIfTI file a patient, the mask numbering the
    lesions), lesions.csv (the manifest), truth.csv (each lesion's latent score) and spec.json.
    Until it is complete, it is beside that place, as .unfinished-FINGERPRINT of the spec: a call
    that was stopped or killed is continued by the next call with the same spec.

    Returns:
      Path of the manifest.

    Raises:
      InputError: `folder` contains something else, or the disk is full.
      UsageError: the field of view is too small for the lesions.
    """
    folder = pathlib.Path(folder)
    if _is_taken(folder):
        _check_same(folder, spec)
        return folder / _MANIFEST
    lesions = people.draw(spec)
    by_patient = [rows for _, rows in lesions.groupby("patient")]
    with storage.no_space_is_an_input_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        storage.remove_dead(folder.parent)
        with _unfinished(folder.parent / f".unfinished-{fingerprint(spec)[:12]}") as partial:
            if _is_taken(folder):  # by another process, for which this one has waited
                _check_same(folder, spec)
                return folder / _MANIFEST
            lesions = pd.concat(_scans(partial, spec, by_patient))
            lesions = lesions.convert_dtypes()  # whole numbers stay whole beside empty cells
            storage.write_table(partial / _MANIFEST, lesions[[*_COLUMNS]])
            storage.write_table(partial / "truth.csv", lesions[["lesion_id", "score"]])
            about = {**contents(spec), "attainable_auc": attainable_auc(spec)}
            storage.write_json(partial / _SPEC, about)
            shutil.rmtree(partial / _FINISHED)
            os.replace(partial, folder)
    return folder / _MANIFEST


def _scans(
    folder: pathlib.Path, spec: PhantomSpec, by_patient: list[pd.DataFrame]
) -> list[pd.DataFrame]:
    """`scan.write` of each patient; those that are finished are kept."""
    write = functools.partial(_write, folder, spec)
    # Threads: NumPy, SciPy and zlib let go of the interpreter's lock, and threads, unlike
    # processes, neither import everything again nor fork under a running JAX.
    pool = concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS))
    try:
        written = pool.map(write, by_patient)
        return list(progress.track(written, "phantom scans", total=len(by_patient)))
    finally:
        pool.shutdown(cancel_futures=True)  # a signal waits for those that are begun, no others


def _write(folder: pathlib.Path, spec: PhantomSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """`scan.write`, unless an earlier call has finished this patient."""
    note = folder / _FINISHED / f"{rows.patient_id.iloc[0]}.json"
    if note.exists():
        return rows.assign(**storage.read_json(note))
    written = scan.write(folder, spec, rows)
    new = written.columns.difference(rows.columns)
    storage.write_json(note, {column: written[column].tolist() for column in new})
    return written


@contextlib.contextmanager
def _unfinished(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """`folder`, for this process alone; what an earlier one was just writing is removed from it.

    In the end it is removed, unless it has been moved into place or contains finished scans.
    """
    handle = _opened(folder)
    try:
        for torn in folder.rglob(".partial-*"):
            shutil.rmtree(torn, ignore_errors=True)
        yield folder
    except UsageError:  # no later call can do better
        shutil.rmtree(folder / _FINISHED, ignore_errors=True)
        raise
    finally:
        if not any(folder.glob(f"{_FINISHED}/*.json")):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _opened(folder: pathlib.Path) -> int:
    """A descriptor of `folder` that locks it until it is closed, also by the end of the process."""
    while True:
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            locks.wait_for(handle, "another process that generates it")
            if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
            os.close(handle)  # of a folder that has been moved into place since


def _is_taken(folder: pathlib.Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def generate_in(data_dir: storage.PathLike, spec: PhantomSpec) -> pathlib.Path:
    """`generate` into a folder of `data_dir` named after the spec; returns the manifest's path."""
    return generate(pathlib.Path(data_dir) / f"phantom-{fingerprint(spec)[:12]}", spec)


def _check_same(folder: pathlib.Path, spec: PhantomSpec) -> None:
    advice = "choose another folder, or delete this one."
    if not (folder / _SPEC).is_file() or not (folder / _MANIFEST).is_file():
        raise InputError(f"{folder}: contains something that is not a phantom cohort; {advice}")
    wanted, there = contents(spec), storage.read_json(folder / _SPEC)
    differs = sorted(key for key in wanted if wanted[key] != there.get(key))
    if differs:
        said = ", ".join(f"{key} {there.get(key)} instead of {wanted[key]}" for key in differs)
        raise InputError(f"{folder}: contains another phantom cohort ({said}); {advice}")

"""Writes a phantom cohort into a folder."""

import concurrent.futures
import functools
import os
import pathlib

import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.cohort.phantom import people, scan
from dtc_jax.cohort.phantom.spec import PhantomSpec, attainable_auc, contents, fingerprint
from dtc_jax.cohort.selection import EVIDENCE
from dtc_jax.errors import InputError

_MANIFEST = "lesions.csv"
_SPEC = "spec.json"
_COLUMNS = (
    *("patient_id", "lesion_id", "image", "mask", "mask_label", "cohort", "center", "label"),
    *("diameter_mm", "age", "sex", "scan_order", "scanner", "kvp", "slice_mm"),
    *EVIDENCE,
)
_MOST_THREADS = 8  # each holds a few copies of a scan


def generate(folder: storage.PathLike, spec: PhantomSpec) -> pathlib.Path:
    """Writes the cohort `spec` into `folder`, all of it or nothing; once written, it is kept.

    The folder then holds scans/ and masks/ (one NIfTI file a patient, the mask numbering the
    lesions), lesions.csv (the manifest), truth.csv (each lesion's latent score) and spec.json.

    Returns:
      Path of the manifest.

    Raises:
      InputError: `folder` holds something else, or the disk is full.
      UsageError: the field of view is too small for the lesions.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        _check_same(folder, spec)
        return folder / _MANIFEST
    lesions = people.draw(spec)
    by_patient = [rows for _, rows in lesions.groupby("patient")]
    with storage.atomic_folder(folder) as partial:
        write = functools.partial(scan.write, partial, spec)
        # Threads: NumPy, SciPy and zlib let go of the interpreter's lock, and threads, unlike
        # processes, neither import everything anew nor fork beneath a running JAX.
        with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
            written = pool.map(write, by_patient)
            done = list(progress.track(written, "phantom scans", total=len(by_patient)))
        lesions = pd.concat(done).convert_dtypes()  # whole numbers stay whole beside empty cells
        storage.write_table(partial / _MANIFEST, lesions[[*_COLUMNS]])
        storage.write_table(partial / "truth.csv", lesions[["lesion_id", "score"]])
        about = {**contents(spec), "attainable_auc": attainable_auc(spec)}
        storage.write_json(partial / _SPEC, about)
    return folder / _MANIFEST


def generate_in(data_dir: storage.PathLike, spec: PhantomSpec) -> pathlib.Path:
    """`generate` into a folder of `data_dir` named after the spec; returns the manifest's path."""
    return generate(pathlib.Path(data_dir) / f"phantom-{fingerprint(spec)[:12]}", spec)


def _check_same(folder: pathlib.Path, spec: PhantomSpec) -> None:
    advice = "choose another folder, or delete this one."
    if not (folder / _SPEC).is_file() or not (folder / _MANIFEST).is_file():
        raise InputError(f"{folder}: holds something that is not a phantom cohort; {advice}")
    wanted, there = contents(spec), storage.read_json(folder / _SPEC)
    differs = sorted(key for key in wanted if wanted[key] != there.get(key))
    if differs:
        said = ", ".join(f"{key} {there.get(key)} instead of {wanted[key]}" for key in differs)
        raise InputError(f"{folder}: holds another phantom cohort ({said}); {advice}")

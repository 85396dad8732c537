"""Whole scans evaluated one by one, each cached once it is done: a stopped call goes on from there.

A scan is cached under a name that is the hash of all that its results depend on. Where the networks
or how they are used have changed, or its rows, its image or a mask, there is no such folder: the
scan is evaluated again, and what is not needed any more is deleted once all scans are done.
"""

import contextlib
import hashlib
import itertools
import json
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from dtc_jax import csv_reader, progress, storage
from dtc_jax.crops import fingerprint
from dtc_jax.errors import InputError, no_memory_is_an_input_error

_FORMAT = 8  # raised whenever the same scan and networks would give other tables
_TABLES = {"scans": (), "lesions": ("lesion_id",), "candidates": ()}  # and their ids that are text
_FLAGS = {"lesions": "is_found", "candidates": "is_false"}
_COLUMNS = (
    "patient_id",
    "lesion_id",
    "mask_label",
    "box_mm",
    "view",
)  # of the manifest: those that count
_CONTENTS = "contents.json"
_NAME = re.compile(r"[0-9a-f]{12}")
_SMALLER = (
    "Stop other programs there, use a machine or an accelerator with more memory, or crop the scan "
    "to the chest. The scans before it are kept: run the same command again to go on."
)

EvaluateScan = Callable[[pd.DataFrame, pathlib.Path], dict[str, pd.DataFrame]]


@contextlib.contextmanager
def evaluated(
    table: pd.DataFrame,
    home: pathlib.Path,
    hashes: pathlib.Path,
    depends_on: Callable[[pd.DataFrame], Any],
    evaluate_scan: EvaluateScan,
) -> Iterator[list[pathlib.Path]]:
    """Evaluates the scans of a manifest's `table`, except those that are in `home` already.

    What is no longer needed is deleted, but never what another call that still runs needs.

    Args:
      table: rows of `manifest.read_manifest`.
      home: folder of the cached scans, and of nothing else.
      hashes: cache of `fingerprint.file_hashes`. It names files, so it is kept with the data.
      depends_on: a scan's rows -> what its results depend on besides them and their files, as JSON
        values: the networks, and how they are used.
      evaluate_scan: (a scan's rows in the order of their ids, an empty folder) -> the tables of
        `statistics.detection`; it may write further files into the folder.

    Yields:
      The folder of each scan, in the order of the table, for `gather`; they stay for as long as the
      block lasts.

    Raises:
      InputError: of `evaluate_scan`; or `home` cannot be written, or memory is too small for a
        scan. The scans before it are cached.
    """
    # By lesion_id, so that the order of the manifest's rows does not change a lesion's number.
    scans = [rows.sort_values("lesion_id") for _, rows in table.groupby("image", sort=False)]
    names = _names(scans, hashes, depends_on)
    images = fingerprint.file_hashes([rows.image.iloc[0] for rows in scans], hashes)
    with storage.announced(home, names):
        _evaluate_missing(scans, names, images, home, evaluate_scan)
        wanted = {*names, *itertools.chain(*storage.announcements(home))}
        for folder in home.glob("*"):
            if _NAME.fullmatch(folder.name) and folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)
        yield [home / name for name in names]


def _evaluate_missing(
    scans: Sequence[pd.DataFrame],
    names: Sequence[str],
    images: dict[str, str],
    home: pathlib.Path,
    evaluate_scan: EvaluateScan,
) -> None:
    """Writes the folders that are not in `home` yet."""
    cached = sum(_is_cached(home / name) for name in names)
    if cached:
        print(f"{cached} of {len(scans)} scans were evaluated before.", flush=True)
    for name, rows in progress.track(list(zip(names, scans, strict=True)), "scans"):
        if _is_cached(home / name):
            continue
        what = f"{rows.image.iloc[0]}: the scan"
        with (
            no_memory_is_an_input_error(what, _SMALLER),
            storage.atomic_folder(home / name) as partial,
        ):
            for kind, part in evaluate_scan(rows, partial).items():
                part.insert(0, "patient_id", rows.patient_id.iloc[0])
                if kind == "scans":
                    part["image_sha256"] = images[rows.image.iloc[0]]
                storage.write_table(partial / f"{kind}.csv", part)
            storage.write_json(partial / _CONTENTS, _sizes(partial))


def gather(folders: Sequence[pathlib.Path]) -> dict[str, pd.DataFrame]:
    """The tables of all scans together, with a column `scan_id`, see `scan_id`; ids are text."""
    each = [read(folder) for folder in folders]
    tables = {}
    for kind in _TABLES:
        for number, of_scan in enumerate(each):
            of_scan[kind].insert(1, "scan_id", scan_id(number))
        # A table without rows does not say what type its columns have.
        parts = [of_scan[kind] for of_scan in each]
        tables[kind] = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
    return tables


def read(folder: pathlib.Path) -> dict[str, pd.DataFrame]:
    """The tables in the folder of one scan, or of all scans together."""
    tables = {}
    for kind, ids in _TABLES.items():
        table = csv_reader.read_table(folder / f"{kind}.csv", ["patient_id", *ids])
        tables[kind] = table.astype({_FLAGS[kind]: bool}) if kind in _FLAGS else table
    return tables


def finished(home: pathlib.Path) -> int:
    """How many scans are cached in `home`."""
    return sum(1 for _ in home.glob(f"*/{_CONTENTS}"))


def scan_id(number: int) -> str:
    """What a scan is called in the tables, by its number among the scans."""
    return f"scan-{number:03d}"


def _is_cached(folder: pathlib.Path) -> bool:
    """Whether a scan's folder is complete: files that were written may be gone since."""
    if not (folder / _CONTENTS).is_file():
        return False
    with contextlib.suppress(InputError):  # damaged
        return bool(storage.read_json(folder / _CONTENTS) == _sizes(folder))
    return False


def _sizes(folder: pathlib.Path) -> dict[str, int]:
    """The files of a scan but the one that lists them, in bytes."""
    files = [path for path in folder.iterdir() if path.name != _CONTENTS]
    return {path.name: path.stat().st_size for path in sorted(files)}


def _names(
    scans: Sequence[pd.DataFrame], hashes: pathlib.Path, depends_on: Callable[[pd.DataFrame], Any]
) -> list[str]:
    """The name of each scan's folder; it depends on the contents of the files, not their place."""
    files = [rows[["image", "lungs", "mask", "ignore"]] for rows in scans]
    paths = {path for cells in files for path in cells.to_numpy().ravel() if pd.notna(path)}
    contents = fingerprint.file_hashes(sorted(paths), hashes)
    names = []
    for rows, paths_of_scan in zip(scans, files, strict=True):
        cells = rows[list(_COLUMNS)]
        key = {
            "format": _FORMAT,
            "depends_on": depends_on(rows),
            "rows": [[None if pd.isna(x) else x for x in row] for row in cells.to_numpy(object)],
            "files": [
                [contents.get(path) for path in row] for row in paths_of_scan.to_numpy(object)
            ],
        }
        text = json.dumps(key, sort_keys=True)
        names.append(hashlib.sha256(text.encode()).hexdigest()[:12])
    return names

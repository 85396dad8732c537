"""Whole scans judged one by one, each kept once it is done: a stopped call goes on from there.

A scan is kept under a name that is the hash of all that its judgement hangs on. Where the networks
or how they are used have changed, or its rows, its image or a mask, there is no such folder: the
scan is judged anew, and what nobody asks for any more is deleted once all scans are done.
"""

import contextlib
import hashlib
import json
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from dtc_jax import csv_reader, progress, storage
from dtc_jax.crops import fingerprint
from dtc_jax.errors import InputError

_FORMAT = 2  # raised whenever the same scan and networks would give other tables
_TABLES = {"scans": (), "lesions": ("lesion_id",), "candidates": ()}  # and their ids that are text
_FLAGS = {"lesions": "is_found", "candidates": "is_false"}
_COLUMNS = ("patient_id", "lesion_id", "mask_label")  # of the manifest: those that count
_CONTENTS = "contents.json"
_NAME = re.compile(r"[0-9a-f]{12}")

Judge = Callable[[pd.DataFrame, pathlib.Path], dict[str, pd.DataFrame]]


def judge(
    table: pd.DataFrame,
    home: pathlib.Path,
    hashes: pathlib.Path,
    hangs_on: Callable[[pd.DataFrame], Any],
    judge_one: Judge,
) -> list[pathlib.Path]:
    """Judges the scans of a manifest's `table`, but for those that are in `home` already.

    Args:
      table: rows of `manifest.read_manifest`.
      home: folder of the kept scans, and of nothing else.
      hashes: cache of `fingerprint.file_hashes`. It names files, so it lies with the data.
      hangs_on: a scan's rows -> what its judgement hangs on besides them and their files, as JSON
        values: the networks, and how they are used.
      judge_one: (a scan's rows in the order of their ids, an empty folder) -> the tables of
        `statistics.detection`; it may write further files into the folder.

    Returns:
      The folder of each scan, in the order of the table, for `gather`.

    Raises:
      InputError: of `judge_one`; or `home` cannot be written. The scans before are kept.
    """
    # By the lesions' ids: another order of the manifest's rows numbers no lesion otherwise.
    scans = [rows.sort_values("lesion_id") for _, rows in table.groupby("image", sort=False)]
    names = _names(scans, hashes, hangs_on)
    there = sum(_is_kept(home / name) for name in names)
    if there:
        print(f"{there} of {len(scans)} scans are judged already.", flush=True)
    for name, rows in progress.track(list(zip(names, scans, strict=True)), "scans"):
        if _is_kept(home / name):
            continue
        with storage.atomic_folder(home / name) as partial:
            for kind, one in judge_one(rows, partial).items():
                one.insert(0, "patient_id", rows.patient_id.iloc[0])
                storage.write_table(partial / f"{kind}.csv", one)
            storage.write_json(partial / _CONTENTS, _sizes(partial))
    for folder in home.glob("*"):
        if _NAME.fullmatch(folder.name) and folder.name not in names:
            shutil.rmtree(folder, ignore_errors=True)
    return [home / name for name in names]


def gather(folders: Sequence[pathlib.Path]) -> dict[str, pd.DataFrame]:
    """The tables of all scans together, with a column `scan_id`, see `scan_id`; ids are text."""
    found = {}
    for kind, ids in _TABLES.items():
        parts = []
        for number, folder in enumerate(folders):
            part = csv_reader.read_table(folder / f"{kind}.csv", ["patient_id", *ids])
            part.insert(1, "scan_id", scan_id(number))
            parts.append(part)
        # A table without a row does not say of which type its columns are.
        found[kind] = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
        if kind in _FLAGS:
            found[kind] = found[kind].astype({_FLAGS[kind]: bool})
    return found


def scan_id(number: int) -> str:
    """What a scan is called in the tables, by its number among the scans."""
    return f"scan-{number:03d}"


def _is_kept(folder: pathlib.Path) -> bool:
    """It appears whole; but somebody may have tidied up in it."""
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
    scans: Sequence[pd.DataFrame], hashes: pathlib.Path, hangs_on: Callable[[pd.DataFrame], Any]
) -> list[str]:
    """The name of each scan's folder; where its files lie does not count, but their contents do."""
    files = [rows[["image", "lungs", "mask"]] for rows in scans]
    paths = {path for one in files for path in one.to_numpy().ravel() if pd.notna(path)}
    contents = fingerprint.file_hashes(sorted(paths), hashes)
    names = []
    for rows, own in zip(scans, files, strict=True):
        cells = rows[list(_COLUMNS)]
        known = {
            "format": _FORMAT,
            "hangs_on": hangs_on(rows),
            "rows": [[None if pd.isna(x) else x for x in row] for row in cells.to_numpy(object)],
            "files": [[contents.get(path) for path in row] for row in own.to_numpy(object)],
        }
        text = json.dumps(known, sort_keys=True)
        names.append(hashlib.sha256(text.encode()).hexdigest()[:12])
    return names

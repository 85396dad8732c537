"""What a built dataset depends on, as one hash: if it agrees, nothing is built again."""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.crops.record import FORMAT

_COLUMNS = ("lesion_id", "patient_id", "image", "mask", "mask_label")


def fingerprint(table: pd.DataFrame, params: dict[str, Any], cache: storage.PathLike) -> str:
    """SHA-256 of the lesions, the contents of their images and masks, and the build parameters.

    Where a file lies does not count, nor does any other column of the manifest.

    Args:
      table: of `manifest.read_manifest`.
      params: of the build.
      cache: JSON file that remembers the hashes of files by path, size and time of change.
    """
    paths = pd.unique(pd.concat([table.image, table["mask"]]))
    contents = file_hashes(paths, cache)
    rows = table[list(_COLUMNS)].copy()
    for column in ("image", "mask"):
        rows[column] = rows[column].map(contents)
    return _digest({"format": FORMAT, "params": params, "rows": rows.astype(str).values.tolist()})


def file_hashes(paths: Iterable[str], cache: storage.PathLike) -> dict[str, str]:
    """SHA-256 of each file's contents; a file of unchanged size and time is not read again.

    A file that does not exist hashes to ''; whoever reads it will say so.
    """
    cache = pathlib.Path(cache)
    known = storage.read_json(cache) if cache.exists() else {}
    hashes, fresh = {}, {}
    for path in progress.track(list(paths), "looking for changed scans"):
        if not os.path.isfile(path):
            hashes[path] = ""
            continue
        status = os.stat(path)
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(path)
        if entry is None or entry[:2] != stamp:
            with open(path, "rb") as file:
                entry = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            fresh[path] = entry
        hashes[path] = entry[2]
    if fresh:
        storage.write_json(cache, known | fresh)
    return hashes


def params_fingerprint(params: dict[str, Any], files: dict[str, str]) -> str:
    """SHA-256 of build parameters and the content hashes of the files they name."""
    return _digest({"format": FORMAT, "params": params, "files": files})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()

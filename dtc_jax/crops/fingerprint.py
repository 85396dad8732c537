"""What a built dataset depends on, as one hash: if it agrees, nothing is built again."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

from dtc_jax import progress, storage
from dtc_jax.crops import processes
from dtc_jax.crops.extraction import Scan
from dtc_jax.crops.record import FORMAT
from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom

# A file changed twice within a tick of the clock keeps its time; so young ones are read again.
_SETTLED_SECONDS = 2.0


def of_scans(scans: Sequence[Scan], params: dict[str, Any], cache: storage.PathLike) -> str:
    """SHA-256 of the lesions, the contents of their images and masks, and the build parameters.

    Where a file lies does not count, nor do the order and the other columns of the manifest. Masks
    of the lungs and scans without a lesion count where `scans` has them.

    Args:
      scans: of `extraction.scans`.
      params: of the build.
      cache: see `file_hashes`.
    """
    files = ((s.image, s.lungs, s.ignore, *(one.mask for one in s.lesions)) for s in scans)
    content = file_hashes(dict.fromkeys(p for own in files for p in own if p), cache)
    known: dict[str, Any] = {
        "lesions": [
            [content[s.image], content[one.mask], one.mask_label, one.patient_id, one.lesion_id]
            for s in scans
            for one in s.lesions
        ]
    }
    # Named only where they are there: without them the hash is what it was before they could be.
    if any(s.lungs for s in scans):
        known["lungs"] = [content[s.lungs] if s.lungs else None for s in scans]
    if any(s.ignore for s in scans):
        known["ignore"] = [content[s.ignore] if s.ignore else None for s in scans]
    for name, values in (
        ("boxes_mm", [s.boxes_mm for s in scans]),
        ("is_cube", [s.is_cube for s in scans]),
    ):
        if any(values):
            known[name] = values
    if healthy := [s for s in scans if not s.lesions]:
        known["healthy"] = [[content[s.image], s.patient_id, s.name] for s in healthy]
    return of_contents({"params": params, **known})


def of_contents(contents: dict[str, Any]) -> str:
    """SHA-256 of JSON values, and of the format of the records."""
    text = json.dumps({"format": FORMAT, **contents}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hashes(paths: Iterable[str], cache: storage.PathLike) -> dict[str, str]:
    """SHA-256 of each file's contents; a file of unchanged `stamp` is not read again.

    A folder counts as its files do, whatever their names. What cannot be read hashes to ''; whoever
    needs its contents will say so.

    Args:
      paths: absolute.
      cache: JSON file that remembers the hashes by path and stamp.
    """
    cache = pathlib.Path(cache)
    known: dict[str, list] = {}
    with contextlib.suppress(InputError):  # not there yet, or damaged: it is only a cache
        known = storage.read_json(cache)
    stamps = {path: stamp(path) for path in paths}
    stale = [p for p, now in stamps.items() if now and known.get(p, [None])[:-1] != now]
    with concurrent.futures.ThreadPoolExecutor(processes.cores()) as pool:
        fresh = progress.track(pool.map(sha256, stale), "hashing scans and masks", len(stale))
        hashes = dict(zip(stale, fresh, strict=True))
    settled = time.time_ns() - int(_SETTLED_SECONDS * 1e9)
    new = {p: [*stamps[p], h] for p, h in hashes.items() if h and stamps[p][0] < settled}
    if new:
        with contextlib.suppress(InputError):  # a full disk or a read-only folder
            storage.write_json(cache, known | new)
    return {p: hashes[p] if p in hashes else known[p][-1] if stamps[p] else "" for p in stamps}


def stamp(path: storage.PathLike) -> list[Any]:
    """What the file system says of a file, or of each file of a folder.

    A program can set back the time of a file and keep its size, but not its ctime: that of the last
    change of anything in it.

    Returns:
      When the last of the files changed, and a hash of all that is said of them; empty where one
      cannot be reached.
    """
    newest, seen = 0, hashlib.sha256()
    try:
        for file in dicom.visible_files(path):
            of = os.stat(file)
            newest = max(newest, of.st_mtime_ns, of.st_ctime_ns)
            said = (str(file), of.st_size, of.st_mtime_ns, of.st_ctime_ns, of.st_ino)
            seen.update(repr(said).encode())
    except OSError:
        return []
    return [newest, seen.hexdigest()] if newest else []


def sha256(path: storage.PathLike) -> str:
    """Of a file's content; of a folder, of its files' contents in any order; '' if unreadable."""
    digests = []
    try:
        for name in dicom.visible_files(path):
            digests.append(storage.sha256(name))
    except OSError:
        return ""
    if os.path.isdir(path):
        return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return digests[0]

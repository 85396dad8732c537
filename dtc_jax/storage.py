"""Writes files atomically: a crash, a signal or a full disk leaves no half-written file."""

import atexit
import contextlib
import errno
import hashlib
import json
import os
import pathlib
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pandas as pd

from dtc_jax.errors import InputError, UsageError

PathLike = str | os.PathLike[str]

_PLAIN = re.compile(r"[\w/ .,:;=+@%-]*")
_links: dict[pathlib.Path, pathlib.Path] = {}  # of `plain_path`, in this process
_SCRATCH = re.compile(r"\.partial-(.+)-(\d+)-\w+")
_ABANDONED_SECONDS = 7 * 24 * 3600.0  # of another machine, whose processes cannot be seen
_ANNOUNCED = "announced.json"
_own_scratch: set[pathlib.Path] = set()  # of this process, in use
_cleared: set[pathlib.Path] = set()  # folders from which this process removed what the dead left


@contextlib.contextmanager
def no_space_is_an_input_error(path: PathLike) -> Iterator[None]:
    """Turns a full disk, a read-only folder or an obstructing file into an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(
                f"{path}: no space left on the disk. Free some and run the same command again."
            ) from error
        is_scratch = _SCRATCH.fullmatch(os.path.basename(str(error.filename)))  # as in /proc
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or is_scratch:
            raise InputError(
                f"{path}: cannot be written. Choose a folder with write permission."
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise _obstructed(path) from error
        raise


def _obstructed(path: PathLike) -> InputError:
    return InputError(
        f"{path}: cannot be written: there is a file in place of a folder, or a folder or a device "
        "in place of a file. Choose another name."
    )


@contextlib.contextmanager
def no_file_is_an_input_error(path: PathLike, wanted: str) -> Iterator[None]:
    """Turns a missing or unreadable file, or a folder, into an `InputError`.

    Args:
      path: to read.
      wanted: what the path should point to, for the message.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give the path of {wanted}.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; give the path of {wanted}.") from error
    except PermissionError as error:
        raise InputError(f"{path}: permission denied; change its permissions.") from error


def sha256(path: PathLike) -> str:
    """Of the contents of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_plain(path: PathLike) -> bool:
    """Whether a path has only characters that mean themselves in every library."""
    text = os.fspath(path)
    return bool(_PLAIN.fullmatch(text)) and text.isprintable()


def plain_path(folder: PathLike) -> pathlib.Path:
    """An absolute path to an existing folder, for a library that reads some names as patterns.

    Orbax, TFDS and array_record do so with brackets, asterisks and backslashes, and their C++ parts
    refuse names that are not UTF-8. Such a folder is reached through a link in the system's folder
    for temporary files, which lasts as long as this process; any other is what is returned.
    """
    own = pathlib.Path(folder).absolute()
    if is_plain(own):
        return own
    if own not in _links:
        scratch = tempfile.mkdtemp(prefix="dtc-jax-")
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)  # of the link, not its target
        _links[own] = pathlib.Path(scratch) / "folder"
        _links[own].symlink_to(own, target_is_directory=True)
    return _links[own]


@contextlib.contextmanager
def atomic(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, which replaces it only if the block succeeds.

    The temporary name keeps every suffix of `path`, since libraries derive the format from it.

    Raises:
      InputError: the disk is full, the folder cannot be written, or something else than a file
        obstructs the path: a folder, or a device such as /dev/null.
    """
    target = pathlib.Path(path)
    if target.exists() and not target.is_file():
        raise _obstructed(target)
    with no_space_is_an_input_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = _scratch(target.parent)
        try:
            partial = folder / target.name
            yield partial
            os.replace(partial, target)
        finally:
            _drop(folder)


@contextlib.contextmanager
def atomic_folder(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path`, which replaces `path` only if the block succeeds.

    Raises:
      InputError: the disk is full, the folder cannot be written, or there is something else than a
        folder at the path.
    """
    target = pathlib.Path(path)
    if target.exists() and not target.is_dir():
        raise _obstructed(target)
    with no_space_is_an_input_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = _scratch(target.parent)
        replaced = scratch / "replaced" / target.name
        try:
            partial = scratch / target.name
            partial.mkdir()
            yield partial
            while True:
                if target.exists():
                    replaced.parent.mkdir(exist_ok=True)
                    os.replace(target, replaced)
                try:
                    os.replace(partial, target)
                    break
                except OSError as error:  # another process has just put its own there
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    shutil.rmtree(replaced, ignore_errors=True)
        finally:
            if replaced.exists() and not target.exists():  # stopped between the two renames
                os.replace(replaced, target)
            _drop(scratch)


def remove_dead(folder: PathLike) -> None:
    """Removes from `folder` what processes that no longer run left unfinished.

    Those of another machine (or container) count as such after a week. A folder that
    `atomic_folder` had moved aside, but not replaced yet, is moved back.
    """
    folder = pathlib.Path(folder)
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if not _SCRATCH.fullmatch(path.name) or _is_in_use(path):
            continue
        for replaced in path.glob("replaced/*"):
            if not (folder / replaced.name).exists():
                os.replace(replaced, folder / replaced.name)
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def announced(folder: PathLike, value: Any) -> Iterator[None]:
    """Shows `value` (JSON) to other processes that call `announcements` while the block lasts."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    scratch = _scratch(pathlib.Path(folder))
    try:
        (scratch / _ANNOUNCED).write_text(json.dumps(value), encoding="utf-8")
        yield
    finally:
        _drop(scratch)


def announcements(folder: PathLike) -> list[Any]:
    """What processes that still run have `announced` in `folder`, this one among them."""
    remove_dead(folder)
    values = []
    for path in pathlib.Path(folder).glob(f".partial-*/{_ANNOUNCED}"):
        with contextlib.suppress(OSError, ValueError):  # it ends just now
            values.append(json.loads(path.read_text(encoding="utf-8")))
    return values


def _scratch(folder: pathlib.Path) -> pathlib.Path:
    """A new folder in `folder`; its name tells by which process, for `remove_dead`.

    The first one in each folder removes what the dead have left there.
    """
    if folder.absolute() not in _cleared:
        _cleared.add(folder.absolute())
        remove_dead(folder)
    own = folder / f".partial-{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}"
    _own_scratch.add(own.absolute())  # before it is there: another thread may be in `remove_dead`
    own.mkdir(mode=0o700)
    return own


def _drop(scratch: pathlib.Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    _own_scratch.discard(scratch.absolute())


def _is_in_use(scratch: pathlib.Path) -> bool:
    """Whether the process that made a folder of `_scratch` may still need it."""
    named = _SCRATCH.fullmatch(scratch.name)
    assert named is not None
    machine, pid = named[1], int(named[2])
    if machine != platform.node():
        with contextlib.suppress(OSError):
            return time.time() - scratch.stat().st_mtime < _ABANDONED_SECONDS
        return False
    if pid == os.getpid():  # else of an earlier process, as in a container
        return scratch.absolute() in _own_scratch
    return _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        with contextlib.suppress(PermissionError):  # another user's
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


def write_text(path: PathLike, text: str) -> None:
    """Writes `text` to `path` atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: PathLike, value: Any) -> None:
    """Writes `value` as indented JSON to `path` atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: PathLike) -> Any:
    """Reads JSON from `path`.

    Raises:
      InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}).") from error


def write_table(path: PathLike, table: pd.DataFrame) -> None:
    """Writes `table` as CSV (no index column) to `path` atomically."""
    with atomic(path) as partial:
        table.to_csv(partial, index=False)


def existing_file(path: str, field: str) -> pathlib.Path:
    """`path` if it is a file.

    Args:
      path: as it was given.
      field: where it was given, such as `config.data.manifest`.

    Raises:
      InputError: there is no such file.
      UsageError: `path` is empty, or names DTC_JAX_DATA, which is not set.
    """
    if not path:
        raise UsageError(f"{field} is empty; give the file's path.")
    if "$DTC_JAX_DATA" in path and "DTC_JAX_DATA" not in os.environ:
        raise UsageError(
            f"{field} is {path}, but the environment variable DTC_JAX_DATA is not set; set it to "
            f"the folder of the data, or give --{field}=PATH."
        )
    if not pathlib.Path(path).is_file():
        raise InputError(f"{path}: no such file (named by {field}).")
    return pathlib.Path(path)

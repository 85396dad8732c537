"""Writes files atomically: a crash, a signal or a full disk leaves no half-written file."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pandas as pd

from dtc_jax.errors import InputError

PathLike = str | os.PathLike[str]


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
        if error.errno in (errno.EACCES, errno.EROFS):
            raise InputError(
                f"{path}: cannot be written. Choose a folder with write permission."
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise InputError(
                f"{path}: cannot be written: there is a file in place of a folder, or a folder in "
                "place of a file. Choose another name."
            ) from error
        raise


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


@contextlib.contextmanager
def atomic(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, which replaces it only if the block succeeds.

    The temporary name keeps every suffix of `path`, since libraries derive the format from it.

    Raises:
      InputError: the disk is full, the folder cannot be written, or a file obstructs the path.
    """
    target = pathlib.Path(path)
    with no_space_is_an_input_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
        try:
            partial = folder / target.name
            yield partial
            os.replace(partial, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def atomic_folder(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path`, which replaces `path` only if the block succeeds."""
    target = pathlib.Path(path)
    with no_space_is_an_input_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
        replaced = scratch / "replaced" / target.name
        try:
            partial = scratch / target.name
            partial.mkdir()
            yield partial
            if target.exists():
                replaced.parent.mkdir()
                os.replace(target, replaced)
            os.replace(partial, target)
        finally:
            if replaced.exists() and not target.exists():  # stopped between the two renames
                os.replace(replaced, target)
            shutil.rmtree(scratch, ignore_errors=True)


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

"""The files that a manifest names: one spelling for each, and all of them there."""

import functools
import pathlib
from collections.abc import Iterator, Sequence

import pandas as pd

from dtc_jax.csv_reader import Problem


def unify_spelling(table: pd.DataFrame, columns: Sequence[str], root: pathlib.Path) -> pd.DataFrame:
    """`table` with one spelling per file, the first one: a.nii and ./a.nii are one scan.

    Otherwise a scan could have two patients, or be in two splits.

    Args:
      table: every cell as text.
      columns: those of files; one that the table does not have is passed over.
      root: of the manifest.
    """
    first: dict[pathlib.Path, str] = {}

    @functools.cache  # many lesions share a scan
    def spelled(name: str) -> str:
        if not name or pathlib.Path(name).is_absolute():  # an absolute path is refused later
            return name
        try:
            return first.setdefault((root / name).resolve(), name)
        except (OSError, RuntimeError, ValueError):  # refused later, too
            return name

    there = [column for column in columns if column in table]
    return table.assign(**{column: table[column].map(spelled) for column in there})


def problems(cells: pd.Series, column: str, folder: pathlib.Path) -> Iterator[Problem]:
    """Files of a column that are not there, or not in the folder of the manifest.

    Args:
      cells: as text; the index is the row number in the file.
      column: their name.
      folder: of the manifest; '/' where its files may be anywhere.
    """
    root = folder.resolve()
    anywhere = root == pathlib.Path("/")

    @functools.cache  # many lesions share a scan
    def problem(name: str) -> str:
        path = root / name
        try:
            if (
                not anywhere and pathlib.Path(name).is_absolute()
            ) or not path.resolve().is_relative_to(root):
                return (
                    "is outside the folder of the manifest; move the file into it, without a link."
                )
            exists = path.is_file() or (column == "image" and path.is_dir())
            return "" if exists else f"no such file in {folder}; check the name."
        except (OSError, RuntimeError):  # too long a name, a loop of links
            return "the path is not valid; check the name."

    for row, name in cells[cells != ""].items():
        if message := problem(name):
            yield Problem(row, column, f"{name!r}: {message}")

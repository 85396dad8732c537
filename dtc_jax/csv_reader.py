"""Reads a CSV as text, and names the file, the row and the column of every problem.

One rule for every table of a user, also after it was saved by a spreadsheet: UTF-8 with
or without a byte order mark; commas, semicolons, tabs or bars, whichever the header uses, or the
delimiter of a first line `sep=;` as Excel writes it. Every cell is text without surrounding blanks,
so the id 007 keeps its zeros and NA is an id. A row with more or fewer cells than the header is a
problem and is never filled up: the file may be truncated.
"""

import csv
import dataclasses
import io
import math
import pathlib
import re
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError, one_line
from dtc_jax.storage import PathLike

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_NAMED = 20  # problems in one message
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_SEP_LINE = re.compile(r"\"?sep=(.)\"?[,;\t|]*\r?(?:\n|$)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with a table.

    Attributes:
      row: as a spreadsheet counts, the header is row 1; 0 for the file as a whole.
      column: its name; '' for the row as a whole.
      message: what is wrong and what to do.
    """

    row: int
    column: str
    message: str

    def __str__(self) -> str:
        place = [f"row {self.row}"] * (self.row > 0) + [self.column] * (self.column != "")
        return ": ".join([", ".join(place), self.message] if place else [self.message])


class TableError(InputError):
    """The problems of a table at once, one per line; the message names the first of very many.

    Attributes:
      problems: all of them, sorted by row.
    """

    def __init__(self, path: PathLike, problems: Sequence[Problem]):
        self.problems = sorted(problems, key=lambda problem: problem.row)
        lines = [str(problem) for problem in self.problems[:_NAMED]]
        found = len(self.problems)
        count = f" {found} problems" if found > 1 else ""
        separator = "\n  " if found > 1 else " "
        if found > _NAMED:
            lines.append(f"and {found - _NAMED} more")
        super().__init__(separator.join([f"{path}:{count}", *lines]))


def read(
    path: PathLike, content: str, each: str = "", verbatim: Collection[str] = ()
) -> pd.DataFrame:
    """Reads a table that must have no problem; see `read_cells`.

    Raises:
      InputError: there is no such file.
      TableError: all problems of the table.
    """
    table, problems = read_cells(path, content, each, verbatim)
    if problems:
        raise TableError(path, problems)
    return table


def read_cells(
    path: PathLike, content: str, each: str = "", verbatim: Collection[str] = ()
) -> tuple[pd.DataFrame, list[Problem]]:
    """Reads all rows that are complete, and lists what is wrong with the others.

    Args:
      path: of the CSV.
      content: what the table contains, for the message about a missing file: 'the manifest'.
      each: what a row describes, where the table needs at least one: 'lesion'.
      verbatim: columns (in lower case) whose cells keep surrounding blanks: 'comment'.

    Returns:
      The table and its problems. Every cell is text, '' where empty; the index is the number of the
      row in the file. Empty rows and columns without a name are left out.

    Raises:
      InputError: there is no such file.
      TableError: the file cannot be read as a table at all.
    """
    rows, delimiter = _rows(path, content)
    header_row = next((i for i, cells in enumerate(rows) if any(map(str.strip, cells))), None)
    if header_row is None:
        rows_needed = f" and one row per {each}" if each else ""
        raise TableError(path, [Problem(0, "", f"is empty; it needs a header{rows_needed}.")])
    header = [name.strip() for name in rows[header_row]]
    problems = [
        Problem(header_row + 1, name, f"{header.count(name)} columns have this name; rename one.")
        for name in dict.fromkeys(header)
        if name and header.count(name) > 1
    ]
    if problems:
        raise TableError(path, problems)
    kept = [i for i, name in enumerate(header) if name.lower() in verbatim]
    complete, numbers = [], []
    for number, row in enumerate(rows[header_row + 1 :], start=header_row + 2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < len(header) or any(cells[len(header) :]):
            count = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            mark = _DELIMITERS.get(delimiter, "delimiter")
            message = (
                f"has {count}, but the header has {len(header)}; check for a missing or an extra "
                f"{mark} (put text that contains one in quotes)."
            )
            problems.append(Problem(number, "", message))
        else:
            for i in kept:
                cells[i] = row[i]
            complete.append(cells[: len(header)])
            numbers.append(number)
    if each and not numbers and not problems:
        message = f"has a header but no rows; add one row per {each}."
        raise TableError(path, [Problem(0, "", message)])
    columns = np.array(complete, dtype=object).reshape(-1, len(header)).T
    named = {name: cells for name, cells in zip(header, columns, strict=True) if name}
    return pd.DataFrame(named, index=numbers, dtype=str), problems


def number(text: str) -> float:
    """A cell as a number; NaN where it is none.

    Unlike `float`, which makes 56 of 5_6, it takes neither underscores nor digits of other scripts.
    """
    try:
        return math.nan if "_" in text or not text.isascii() else float(text)
    except ValueError:
        return math.nan


def not_a_number(text: str, otherwise: str = "") -> str:
    """What to do about a cell that should be a number: '; …'.

    A decimal comma is a known value in another notation, so it is not to be left empty.

    Args:
      text: of the cell.
      otherwise: the advice if it has no decimal comma.
    """
    if _DECIMAL_COMMA.fullmatch(text):
        return "; write decimals with a point, not a comma"
    return otherwise


_ALWAYS_TEXT = ("same_patient",)  # ids, separated by blanks; an empty cell is none


def read_table(path: PathLike, ids: Collection[str]) -> pd.DataFrame:
    """Reads a CSV of `storage.write_table`: numbers are numbers, and an empty cell is NaN.

    Args:
      path: of the CSV.
      ids: columns that are text whatever they look like, also where empty ('007' keeps its zeros,
        'NA' is an id); they need not be in the table.

    Raises:
      InputError: there is no such file, or it is not such a table.
    """
    with storage.no_file_is_an_input_error(path, "a table that dtc-jax wrote"):
        _, problems = read_cells(path, "a table that dtc-jax wrote")
        if problems:
            raise TableError(path, problems)
        text, delimiter = _text(path, "a table that dtc-jax wrote")
        try:
            columns = pd.read_csv(io.StringIO(text), sep=delimiter, nrows=0).columns
            return pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                dtype={c: str for c in columns if c in ids or c in _ALWAYS_TEXT},
                keep_default_na=False,
                na_values={column: [""] for column in columns if column not in ids},
            )
        except ValueError as error:  # also of pandas's parser and of UTF-8
            text = one_line(error)
            raise InputError(f"{path}: cannot be read as a table ({text}).") from error


def _rows(path: PathLike, content: str) -> tuple[list[list[str]], str]:
    """The cells of every row of the file, and the delimiter."""
    text, delimiter = _text(path, content)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return list(reader), delimiter
    except csv.Error as error:
        problem = Problem(0, "", f"is not valid CSV ({error}); check the quotation marks.")
        raise TableError(path, [problem]) from error


def _text(path: PathLike, content: str) -> tuple[str, str]:
    """The text of the file without the line of its delimiter, and the delimiter."""
    with storage.no_file_is_an_input_error(path, content):
        encoded = pathlib.Path(path).read_bytes()
    try:
        text, end = encoded.decode("utf-8-sig"), encoded.find(b"\0")
    except UnicodeDecodeError as error:
        text, end = "", error.start
    if end >= 0:
        row = encoded[:end].count(b"\n") + 1
        problem = Problem(row, "", "is not UTF-8 text; save the file as 'CSV UTF-8'.")
        raise TableError(path, [problem])
    sep_line = _SEP_LINE.match(text)
    if sep_line:
        delimiter, text = sep_line[1], text[sep_line.end() :]
    else:
        delimiter = max(_DELIMITERS, key=re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0].count)
    return text, delimiter

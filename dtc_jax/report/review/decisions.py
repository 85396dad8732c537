r"""The CSV that a reader downloads from the review page.

A spreadsheet executes a cell that begins with =, +, - or @. The page therefore writes an apostrophe
before such a beginning, also after any character that a spreadsheet may take for the end of a cell.
Reading removes it again (`templates/review/table.js` is the counterpart).
"""

import re
from collections.abc import Collection, Iterator

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.errors import InputError

COLUMNS = ("lesion_id", "verdict", "comment", "reviewer")
VERDICTS = ("accept", "reject", "")
_OF_THE_ANSWER = {"refractory_probability": 0.01, "diameter_mm": 0.1}  # and what rounding may do
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")
_LABEL = "label"  # a column that a reader may add
_LABELS = {"": "", "0": "0", "avid": "0", "1": "1", "refractory": "1"}
_GUARD = re.compile("""(^|[;,\t\r\n"])'('* *)(?=[=+\\-@＝＋－＠])""")


def read_decisions(
    path: storage.PathLike, lesion_ids: Collection[int], added: Collection[int] = ()
) -> pd.DataFrame:
    """Reads the decisions that a reader made on the review page; further columns are ignored.

    Args:
      path: the CSV.
      lesion_ids: the lesions of the page; the file must have a row for each.
      added: lesions that were drawn in the mask; the file may have a row for each, which names
        the reviewer.

    Returns:
      `lesion_id`, `verdict` ('accept', 'reject' or ''), `comment` and `reviewer`, sorted by
      `lesion_id`.

    Raises:
      InputError: the file is missing, is not a CSV, or lacks a column or has it twice; a lesion is
        unknown, missing or listed twice; or a verdict is not one of the three, or rejects an added
        lesion.
    """
    rows: dict[int, tuple[str, str, str]] = {}
    for place, cells in _rows(path):
        lesion = _lesion(cells["lesion_id"], lesion_ids, added, place)
        if lesion in rows:
            raise InputError(f"{place}: lesion {lesion} is listed twice; keep one of its rows.")
        verdict = cells["verdict"].strip().lower()
        if verdict not in VERDICTS:
            raise InputError(
                f"{place}: verdict is {cells['verdict']!r}; it must be accept, reject or empty."
            )
        if verdict == "reject" and lesion in added:
            raise InputError(
                f"{place}: the verdict of lesion {lesion} is reject, but it was added in the mask; "
                "delete it there, and delete this row."
            )
        rows[lesion] = verdict, _unguarded(cells["comment"]), _unguarded(cells["reviewer"])
    missing = sorted(set(lesion_ids) - set(rows))
    if missing:
        named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(
            f"{path}: no row for lesion{'s' * (len(missing) > 1)} {named}. A review needs a row "
            "for each lesion of the page; leave the verdict empty if there is none."
        )
    table = pd.DataFrame([(lesion, *rows[lesion]) for lesion in sorted(rows)], columns=COLUMNS)
    return table.astype({"lesion_id": int})


def read_labels(path: storage.PathLike) -> dict[int, str]:
    """The labels that a reader has added in a column `label`, by lesion: '1', '0' or '' (unknown).

    Args:
      path: of a CSV that `read_decisions` has read.

    Raises:
      InputError: a label is none: 1 or refractory, 0 or avid, or empty.
    """
    table = _table(path)
    labels = {}
    for row, cells in table.iterrows() if _LABEL in table else ():
        label = _LABELS.get(cells[_LABEL].lower())
        if label is None:
            raise InputError(
                f"{path}: row {row}: label is {cells[_LABEL]!r}; it must be 1 or refractory, 0 or "
                "avid, or empty."
            )
        labels[int(float(cells["lesion_id"]))] = label
    return labels


def check_same_answer(path: storage.PathLike, lesions: pd.DataFrame) -> None:
    """Refuses the review of another answer, by what the page says of each lesion in its CSV.

    Args:
      path: of a CSV that `read_decisions` has read; without these columns nothing is compared.
      lesions: lesions.csv of the answer.

    Raises:
      InputError: a lesion has another diameter or probability than in the answer.
    """
    table = _table(path)
    known = lesions.set_index("lesion_id")
    for column, tolerance in _OF_THE_ANSWER.items():
        for row, cells in table.iterrows() if column in table and column in known else ():
            lesion, text = int(float(cells["lesion_id"])), cells[column].replace(",", ".")
            if lesion not in known.index or not _NUMBER.fullmatch(text):
                continue
            if not abs(float(text) - known[column][lesion]) <= tolerance:
                raise InputError(
                    f"{path}: row {row}: {column} of lesion {lesion} is {float(text):g}, but "
                    f"{known[column][lesion]:g} in this answer, so the review belongs to another "
                    "answer; review the page of this one."
                )


def _table(path: storage.PathLike) -> pd.DataFrame:
    """The cells as text, the columns in small letters."""
    table = csv_reader.read(path, "the CSV of the review page", verbatim=("comment",))
    return table.rename(columns=str.lower)


def _rows(path: storage.PathLike) -> Iterator[tuple[str, dict[str, str]]]:
    """The file and the number of each row as text, and its cells by column."""
    table = _table(path)
    for column in (*COLUMNS, _LABEL):
        count = list(table).count(column)
        if count > 1:
            raise InputError(
                f"{path}: row 1: column {column} appears twice, in whatever case; delete one."
            )
        if not count and column != _LABEL:
            raise InputError(
                f"{path}: row 1: column {column} is missing; a review needs the columns "
                f"{', '.join(COLUMNS)}."
            )
    for number, *cells in table[list(COLUMNS)].itertuples(name=None):
        yield f"{path}: row {number}", dict(zip(COLUMNS, cells, strict=True))


def _lesion(cell: str, lesion_ids: Collection[int], added: Collection[int], place: str) -> int:
    """The lesion number of a row; some programs write 3 as 3.0."""
    match = re.fullmatch(r"\s*([0-9]{1,9})(?:\.0+)?\s*", cell)
    if not match:
        raise InputError(f"{place}: lesion_id is {cell!r}; it must be a lesion number.")
    if int(match[1]) not in {*lesion_ids, *added}:
        raise InputError(
            f"{place}: lesion {match[1]} is not one of the {len(lesion_ids)} lesions of this scan; "
            "is this the review of another scan?"
        )
    return int(match[1])


def _unguarded(text: str) -> str:
    """A cell as the reader typed it, with line ends as on the page."""
    return _GUARD.sub(r"\1\2", text.replace("\r\n", "\n"))

r"""The filled CSV of the review page.

A spreadsheet runs a cell that begins with =, +, - or @. The page therefore puts an apostrophe
before such a beginning, also after any character that some spreadsheet takes for the end of a cell;
reading takes it away again (`templates/review/table.js` is the other half).
"""

import re
from collections.abc import Collection, Iterator

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.errors import InputError

COLUMNS = ("lesion_id", "verdict", "comment", "reviewer")
VERDICTS = ("accept", "reject", "")
_GUARD = re.compile("""(^|[;,\t\r\n"])'('* *)(?=[=+\\-@＝＋－＠])""")


def read_decisions(
    path: storage.PathLike, lesion_ids: Collection[int], added: Collection[int] = ()
) -> pd.DataFrame:
    """Reads what a reader decided on the review page.

    A file that went through a spreadsheet is read too: commas, semicolons or tabs, with or without
    a byte order mark. Columns beyond those below are for the reader and not looked at.

    Args:
      path: the CSV.
      lesion_ids: the lesions of the page; the file must have a row for each.
      added: lesions that were drawn beside them; the file may have a row for each, which says who
        has drawn it.

    Returns:
      `lesion_id`, `verdict` ('accept', 'reject' or ''), `comment` and `reviewer`, in the order of
      the lesions' numbers.

    Raises:
      InputError: the file is missing, is not text in UTF-8 or lacks a column; or a lesion is
        unknown, missing or there twice, or a verdict is none of the three, or rejects what was
        added.
    """
    rows: dict[int, tuple[str, str, str]] = {}
    for place, cells in _rows(path):
        lesion = _lesion(cells["lesion_id"], lesion_ids, added, place)
        if lesion in rows:
            raise InputError(f"{place}: lesion {lesion} is there twice; keep one of its rows.")
        verdict = cells["verdict"].strip().lower()
        if verdict not in VERDICTS:
            raise InputError(
                f"{place}: verdict is {cells['verdict']!r}; it must be accept, reject or empty."
            )
        if verdict == "reject" and lesion in added:
            raise InputError(
                f"{place}: verdict of lesion {lesion} is reject, but the mask alone has it; remove "
                "it there, and its row."
            )
        rows[lesion] = verdict, _unguarded(cells["comment"]), _unguarded(cells["reviewer"])
    missing = sorted(set(lesion_ids) - set(rows))
    if missing:
        named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(
            f"{path}: no row for lesion {named}. A review has a row for each lesion of the page; "
            "leave its verdict empty where there is none."
        )
    table = pd.DataFrame([(lesion, *rows[lesion]) for lesion in sorted(rows)], columns=COLUMNS)
    return table.astype({"lesion_id": int})


def _rows(path: storage.PathLike) -> Iterator[tuple[str, dict[str, str]]]:
    """The place of each row in words, and its cells by column."""
    table = csv_reader.read(path, "the CSV that the review page gives").rename(columns=str.lower)
    for column in COLUMNS:
        if list(table).count(column) != 1:
            raise InputError(
                f"{path}: row 1: column {column} is "
                f"{'missing' if column not in table else 'there twice'}; a review has the columns "
                f"{', '.join(COLUMNS)}."
            )
    for number, *cells in table[list(COLUMNS)].itertuples(name=None):
        yield f"{path}: row {number}", dict(zip(COLUMNS, cells, strict=True))


def _lesion(cell: str, lesion_ids: Collection[int], added: Collection[int], place: str) -> int:
    """The lesion of a row; some programs write 3 as 3.0."""
    found = re.fullmatch(r"\s*([0-9]+)(?:\.0+)?\s*", cell)
    if not found:
        raise InputError(f"{place}: lesion_id is {cell!r}; it must be the number of a lesion.")
    if int(found[1]) not in {*lesion_ids, *added}:
        raise InputError(
            f"{place}: lesion {found[1]} is none of this scan's {len(lesion_ids)} lesions; "
            "is it the review of another scan?"
        )
    return int(found[1])


def _unguarded(text: str) -> str:
    """A cell as the reader typed it; line ends as on the page."""
    return _GUARD.sub(r"\1\2", text.replace("\r\n", "\n"))

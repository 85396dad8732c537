"""The cells of a CSV as text, each row with its number in the file, or what is wrong with them."""

import csv
import dataclasses
import io
import pathlib

import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with a manifest.

    Attributes:
      row: as a spreadsheet counts, the header is row 1; 0 for the file as a whole.
      field: the column, '' for the row as a whole.
      message: what is wrong and what to do.
    """

    row: int
    field: str
    message: str

    def __str__(self) -> str:
        place = [f"row {self.row}"] * (self.row > 0) + [self.field] * (self.field != "")
        return f"{', '.join(place) or 'the file'}: {self.message}"


class ManifestError(InputError):
    """All problems of a manifest at once, a line each."""

    def __init__(self, path: PathLike, problems: list[Problem]):
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{path}: {count}", *(f"  {p}" for p in problems)]))


def read_cells(path: pathlib.Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Reads a CSV.

    Returns:
      The rows that have a cell for every column, and what is wrong with the others. Every cell is
      text without surrounding blanks, '' where empty; the index is the row's number in the file.
      Empty rows and columns without a name are left out.

    Raises:
      InputError: there is no such file.
      ManifestError: the file cannot be read as a table at all.
    """
    lines = _lines(path)
    (top, header), *rows = lines.items()
    problems = [
        Problem(top, name, f"{header.count(name)} columns have this name; rename or delete one.")
        for name in dict.fromkeys(header)
        if name and header.count(name) > 1
    ]
    if problems or not rows:
        empty = Problem(0, "", "has a header but no rows; add one a lesion.")
        raise ManifestError(path, problems or [empty])
    whole = {}
    for row, cells in rows:
        if len(cells) < len(header) or any(cells[len(header) :]):
            message = f"has {len(cells)} cells, but the header has {len(header)}; look for a comma "
            problems.append(
                Problem(row, "", message + "too many or too few (put quotes round a text with one)")
            )
        else:
            whole[row] = cells[: len(header)]
    table = pd.DataFrame(list(whole.values()), list(whole), header, dtype=str)
    return table.loc[:, [name != "" for name in header]], problems


def _lines(path: pathlib.Path) -> dict[int, list[str]]:
    """The cells of each row that is not empty, by its number; at least one row."""

    def refuse(message: str, row: int = 0) -> ManifestError:
        return ManifestError(path, [Problem(row, "", message)])

    with storage.no_file_is_an_input_error(path, "the manifest's CSV"):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise refuse("is not UTF-8 text; save the file as CSV in UTF-8.", row) from error
    if "\0" in text:
        raise refuse("is not text; save it as CSV in UTF-8.")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise refuse(f"is not valid CSV ({error}); look for a quotation mark too many.") from error
    lines = {i: [cell.strip() for cell in cells] for i, cells in enumerate(rows, start=1)}
    lines = {i: cells for i, cells in lines.items() if any(cells)}
    if not lines:
        raise refuse("is empty; it needs a header and a row for every lesion.")
    top, header = next(iter(lines.items()))
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if sum(cell.count(mark) for cell in header) >= len(header):
            raise refuse(f"columns are separated by {name}; save the file with commas.", top)
    return lines

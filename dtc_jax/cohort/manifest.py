"""The manifest: a CSV with one row per lesion, read and checked as a whole.

| column | | |
|---|---|---|
| patient_id, lesion_id | required | pseudonyms of the study; lesion_id is unique |
| image, mask | required | NIfTI, NRRD or MHA below the manifest's folder, relative to it |
| lungs | | a mask of the lungs, like `mask`; if it is empty, they are segmented |
| ignore | | a mask of what counts neither as lesion nor as background, like `mask` |
| box_mm | | instead of `mask`: the lesion's box, x0 x1 y0 y1 z0 z1 in RAS world coordinates |
| view | | 'scan', or 'cube' if the image is cut out about its lesion; default 'scan' |
| mask_label | | number of the lesion in an instance mask; default: all nonzero voxels |
| label | | 1 RAI-refractory, 0 RAI-avid; empty: unknown |
| cohort, center | | default 'primary', 'unknown' |
| split | | train, validation or test, if the split is given |
| same_patient | | further ids of the same person, separated by blanks; see `persons` |
| diameter_mm, age, sex, scan_order | | if known |
| scanner, kvp, tube_current_ma, kernel, pixel_mm, slice_mm | | likewise |

Where scans without an outlined lesion are allowed, one without a lesion is a row with neither
lesion_id nor mask and with no other value of a lesion; a lesion with `box_mm` has no mask.
Different spellings of a path count as the same file.

An image may also be a folder of DICOM files, of which the largest axial CT series is read
(`imaging.dicom.find`). The evidence columns are described in `selection`. Further columns are kept.
"""

import difflib
import math
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from dtc_jax import csv_reader
from dtc_jax.cohort import manifest_paths, persons, selection
from dtc_jax.csv_reader import Problem, TableError
from dtc_jax.statistics.predictions_table import MEASURES, SPLITS
from dtc_jax.storage import PathLike

REQUIRED = ("patient_id", "lesion_id", "image", "mask")
VIEWS = ("scan", "cube")
_DEFAULTS = {"cohort": "primary", "center": "unknown", "view": "scan"}
_WORDS = {"split": SPLITS, "uptake": selection.UPTAKES, "view": VIEWS}
# The valid numbers of a column, as text and as a condition.
_NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "mask_label": ("a whole number of at least 1", lambda x: x >= 1 and x == int(x)),
    "label": ("0 (RAI-avid) or 1 (RAI-refractory)", lambda x: x in (0, 1)),
    **MEASURES,
    "scan_order": ("a number (a date as YYYYMMDD)", lambda x: True),
    "kvp": ("a positive number", lambda x: x > 0),
    "tube_current_ma": ("a positive number", lambda x: x > 0),
    "pixel_mm": ("a positive number", lambda x: x > 0),
    "slice_mm": ("a positive number", lambda x: x > 0),
}
PATHS = ("image", "mask", "lungs", "ignore")
_OF_A_SCAN = {  # columns whose value all rows of a scan share, and what they name
    "lungs": "mask of the lungs",
    "ignore": "mask of what to ignore",
    "view": "view",
}
_OPTIONAL = (
    *(*_DEFAULTS, "lungs", "ignore", "box_mm", "same_patient"),
    *("split", "sex", "scanner", "kernel", *_NUMBERS),
)
_NUMBERS |= dict.fromkeys(selection.FLAGS, ("0 or 1", lambda x: x in (0, 1)))
_NUMBERS |= dict.fromkeys(selection.QUANTITIES, ("a number of at least 0", lambda x: x >= 0))
_COLUMNS = (*REQUIRED, *_OPTIONAL, *selection.EVIDENCE)
_OF_A_LESION = ("label", "mask_label", "box_mm", "diameter_mm", "uptake", "uptake_percent")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CODE = re.compile(r"[+-]?0\d.*")  # 007 looks like a number, but its zeros matter


def read_manifest(
    path: PathLike, id_column: str = "lesion_id", *, healthy: bool = False, absolute: bool = False
) -> pd.DataFrame:
    """Reads and checks a manifest.

    Args:
      path: of the CSV.
      id_column: the column to use as `lesion_id` if the file has no such column.
      healthy: whether rows without a mask are allowed: scans without a lesion, which have no
        lesion_id either, and lesions with a box.
      absolute: whether files may be anywhere: of a manifest that the software itself has written.

    Returns:
      One row per lesion, in the order of the file. Ids and words are str, numbers float, empty
      cells NaN; `image`, `mask` and `lungs` are absolute paths. Missing columns of the table above
      are added, empty or with their default. Further columns are float if all values are numbers.

    Raises:
      InputError: there is no such file.
      TableError: all problems of the manifest.
    """
    path = pathlib.Path(path)
    cells, problems = csv_reader.read_cells(path, "the manifest", each="lesion")
    cells = manifest_paths.unify_spelling(cells, PATHS, path.parent.resolve())
    cells = persons.unify(cells)
    if "lesion_id" not in cells:
        cells = cells.rename(columns={id_column: "lesion_id"})
    invalid = validate(cells, pathlib.Path("/") if absolute else path.parent)
    if healthy:
        invalid = [problem for problem in invalid if not _needs_no_mask(cells, problem)]
        invalid += _contradictions(cells)
    if problems + invalid:
        raise TableError(path, problems + invalid)
    root = path.parent.resolve()
    for column in [c for c in PATHS if c in cells]:
        cells[column] = [str(root / name) if name else "" for name in cells[column]]
    absent = pd.Series("", cells.index, dtype=str)
    columns = dict.fromkeys((*REQUIRED, *_OPTIONAL, *cells))
    table = pd.DataFrame({c: _typed(cells.get(c, absent), c) for c in columns})
    return table.fillna(_DEFAULTS).reset_index(drop=True)


def validate(table: pd.DataFrame, folder: PathLike) -> list[Problem]:
    """All problems of the rows of a manifest, sorted by row.

    Args:
      table: every cell as text, '' if empty; the index is the row number in the file.
      folder: of the manifest; '/' where its files may be anywhere.
    """
    problems = [*_missing_columns(table), *_misspelled_columns(table)]
    present = {*table}
    for column in [c for c in table if c in _COLUMNS]:
        problems += _value_problems(table[column], column)
    if "lesion_id" in present:
        problems += _repeated(table, ["lesion_id"], "every lesion needs a unique id.")
    if {"image", "mask"} <= present:
        location = [c for c in ("mask", "image", "mask_label") if c in present]
        numbered = "mask_label" in present and (table.mask_label != "").any()
        advice = "delete one" if numbered else "give each its number in mask_label, or delete one"
        problems += _repeated(table, location, f"this lesion has another row; {advice}.")
    if "patient_id" in present:
        problems += persons.problems(table)
    if {"patient_id", "cohort"} <= present:
        filled = table.assign(cohort=table.cohort.replace("", _DEFAULTS["cohort"]))
        problems += _inconsistent(
            filled, "patient_id", "cohort", "assign each patient to one cohort."
        )
    if {"patient_id", "image"} <= present:
        problems += _inconsistent(table, "image", "patient_id", "assign each scan to one patient.")
    for column, meaning in _OF_A_SCAN.items():
        if {"image", column} <= present:
            advice = f"give all rows of a scan the same {meaning}, or none."
            problems += _inconsistent(table, "image", column, advice, empty_counts=True)
    if {"mask", "box_mm"} <= present:
        for row in table.index[(table["mask"] != "") & (table.box_mm != "")]:
            problems.append(Problem(row, "box_mm", "the lesion has a mask too; delete one."))
    for column in sorted({*PATHS} & present):
        problems += manifest_paths.problems(table[column], column, pathlib.Path(folder))
    return sorted(problems, key=lambda problem: (problem.row, _COLUMNS.index(problem.column)))


def _needs_no_mask(table: pd.DataFrame, problem: Problem) -> bool:
    """Whether the problem is only the empty lesion_id or mask of a row that may have none."""
    if problem.column not in ("lesion_id", "mask") or not {"lesion_id", "mask"} <= {*table}:
        return False
    row = table.loc[problem.row]
    is_boxed = problem.column == "mask" and row.get("box_mm", "") != "" and row.lesion_id != ""
    return is_boxed or bool(row.lesion_id == "" and row["mask"] == "")


def _contradictions(table: pd.DataFrame) -> Iterator[Problem]:
    """Rows of scans without a lesion that have values of one, or whose scan has another row."""
    if not {"lesion_id", "image", "mask"} <= {*table}:
        return
    healthy = table[(table.lesion_id == "") & (table["mask"] == "")]
    repeated = healthy.image.isin(table.image[table.image.duplicated()])
    for row in healthy.index[repeated]:
        message = "is empty, but the scan has another row; delete one of the rows."
        yield Problem(row, "mask", message)
    for column in [c for c in _OF_A_LESION if c in table]:
        for row in healthy.index[healthy[column] != ""]:
            message = (
                f"is {healthy[column][row]!r}, but a row with neither lesion_id nor mask is a scan "
                "without a lesion; fill in lesion_id and mask, or clear this cell."
            )
            yield Problem(row, column, message)


def _missing_columns(table: pd.DataFrame) -> Iterator[Problem]:
    spelled = {column.lower(): column for column in table if column not in _COLUMNS}
    for column in REQUIRED:
        if column not in table:
            close = difflib.get_close_matches(column, spelled, n=1)
            hint = f"rename {spelled[close[0]]!r}." if close else f"add it to {', '.join(table)}."
            yield Problem(1, column, f"this column is missing; {hint}")


def _misspelled_columns(table: pd.DataFrame) -> Iterator[Problem]:
    """Columns of the user that have the letters of an optional one, which would not be read."""
    others = {_letters(column): column for column in table if column not in _COLUMNS}
    for column in [c for c in _COLUMNS if c not in table and c not in REQUIRED]:
        if _letters(column) in others:
            own = others[_letters(column)]
            yield Problem(1, column, f"the column {own!r} is not read; rename it to {column!r}.")


def _letters(column: str) -> str:
    """Its letters and digits in order of the alphabet: those of 'Mask lable' and 'mask_label'."""
    return "".join(sorted(filter(str.isalnum, column.casefold())))


def _value_problems(cells: pd.Series, column: str) -> Iterator[Problem]:
    for row, text in cells.items():
        if text == "":
            if column in REQUIRED:
                yield Problem(row, column, "is empty; fill it in.")
        elif column == "box_mm":
            try:
                parse_box(text)
            except ValueError as error:
                yield Problem(row, column, str(error))
        elif column in _WORDS and text not in _WORDS[column]:
            words = ", ".join(_WORDS[column])
            yield Problem(
                row, column, f"{text!r} is not one of {words}; leave it empty if unknown."
            )
        elif column in _NUMBERS:
            meaning, is_valid = _NUMBERS[column]
            number = float(text) if _NUMBER.fullmatch(text) else math.nan
            if not math.isfinite(number) or not is_valid(number):
                advice = csv_reader.not_a_number(text, "; leave it empty if unknown")
                yield Problem(row, column, f"{text!r} is not {meaning}{advice}.")


def _repeated(table: pd.DataFrame, columns: list[str], advice: str) -> Iterator[Problem]:
    filled = table[table[columns[0]] != ""]
    same = [filled[c].map(_number) if c in _NUMBERS else filled[c] for c in columns]
    for _, cells in filled[columns[0]].groupby(same):
        for row in cells.index[1:]:
            yield Problem(
                row, columns[0], f"{cells[row]!r} is also in row {cells.index[0]}: {advice}"
            )


def _number(text: str) -> str:
    """As such, however it is written: 1.0 and 01 are 1."""
    return repr(float(text)) if _NUMBER.fullmatch(text) else text


def _inconsistent(
    table: pd.DataFrame, owner: str, column: str, advice: str, empty_counts: bool = False
) -> Iterator[Problem]:
    """Rows whose `column` differs from that of the first row of the same `owner`."""
    filled = table[(table[owner] != "") & (empty_counts | (table[column] != ""))]
    for name, cells in filled.groupby(owner)[column]:
        for row in cells.index[cells != cells.iloc[0]]:
            first = f"row {cells.index[0]} has {cells.iloc[0]!r} for the same {owner} {name!r}"
            yield Problem(row, column, f"is {cells[row]!r}, but {first}; {advice}")


def parse_box(text: str) -> np.ndarray:
    """The box of a cell `box_mm`, its ends by axis of the world. # [3, 2]

    Args:
      text: x0 x1 y0 y1 z0 z1, in mm.

    Raises:
      ValueError: it is none.
    """
    numbers = text.split()
    if len(numbers) == 6 and all(_NUMBER.fullmatch(number) for number in numbers):
        box = np.array(numbers, float).reshape(3, 2)
        if np.isfinite(box).all() and (box[:, 0] < box[:, 1]).all():
            return box
    raise ValueError(
        f"{text!r} is not a box; give x0 x1 y0 y1 z0 z1 in mm, each pair in ascending order."
    )


def _typed(cells: pd.Series, column: str) -> pd.Series:
    filled = cells[cells != ""]
    number = column in _NUMBERS
    if column not in _COLUMNS and len(filled):
        number = all(_NUMBER.fullmatch(text) and not _CODE.fullmatch(text) for text in filled)
    return (
        filled.map(float).astype(float).reindex(cells.index) if number else cells.where(cells != "")
    )

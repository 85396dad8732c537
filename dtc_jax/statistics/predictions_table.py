"""The table of predictions: one row per lesion, run and fold, read and checked as a whole.

| column | | |
|---|---|---|
| patient_id, lesion_id | required | pseudonyms; a lesion_id is unique within its patient |
| label | required | 1 RAI-refractory, 0 RAI-avid; empty: unknown, skipped and counted |
| score | required | probability of 1, in [0, 1]; empty: not scored, skipped and counted |
| run, cohort, split, fold | | default: the name of the file (`read`), 'primary', 'test', 0 |
| threshold, decision | | default: see `complete` |
| diameter_mm, age | | if known; above 0 up to 500 mm, 0 to 130 years |
| sex, center | | if known |

Further columns are kept.
"""

import math
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import csv_reader, patient_ids
from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

REQUIRED = ("patient_id", "lesion_id", "label", "score")
KEY = ("run", "cohort", "split", "fold", "patient_id", "lesion_id")
_DEFAULTS = {"run": "model", "cohort": "primary", "split": "test", "fold": "0"}
SPLITS = ("train", "validation", "test")
_TEXT_COLUMNS = ("patient_id", "lesion_id", "run", "cohort", "split", "sex", "center")
# The valid measures of a lesion and its patient, as text and as a condition (number or Series).
MEASURES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "diameter_mm": ("a number of mm above 0 and up to 500", lambda x: (x > 0) & (x <= 500)),
    "age": ("a number of years from 0 to 130", lambda x: (x >= 0) & (x <= 130)),
}
_NUMBERS = ("label", "score", "threshold", "decision", "fold", *MEASURES)
_EMPTY = ("", "nan", "NaN", "NA", "N/A", "null", "None")
_FOLDS = 2**31  # more of them are a mistake, and would not fit into an integer
_WHOLE = {"label": (0, 1), "decision": (0, 1), "fold": None}


def read(path: PathLike) -> pd.DataFrame:
    """Reads a predictions.csv; a million rows take about a minute.

    Returns:
      Ids and words as str, numbers as float; the index is the row number in the file. Without a
      column `run`, the run is the name of the file, or of the folder of a predictions.csv.

    Raises:
      InputError: names the file, the row and the column.
    """
    path = pathlib.Path(path)
    cells = csv_reader.read(path, "a predictions.csv", each="lesion")
    if "run" not in cells:
        is_generic = path.stem == "predictions"
        cells.insert(0, "run", run_name(path.resolve().parent if is_generic else path.stem))
    try:
        return check(cells)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def run_name(folder: PathLike) -> str:
    """What the run in a folder is called in tables: the last part of its path.

    A file system takes bytes that are no UTF-8, which no table can hold; they become \\xff and the
    like.
    """
    return os.fsencode(pathlib.Path(folder).name).decode("utf-8", "backslashreplace")


def check(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a copy with defaults filled in and every cell checked.

    Args:
      table: see the module's docstring; cells are text or numbers. Errors name rows by the index,
        or by their position if it repeats, as in tables that were glued together.

    Raises:
      InputError: a column is missing or occurs twice, a cell is invalid, a lesion occurs twice, a
        patient is in two cohorts or has two spellings, or a lesion is in two splits or has two
        labels.
    """
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"the column {twice!r} occurs twice; delete or rename one of them.")
    if not table.index.is_unique:
        table = table.reset_index(drop=True)
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise InputError(
            f"no column {', '.join(missing)} among {', '.join(map(str, table.columns))}; add it "
            f"(needed are {', '.join(REQUIRED)})."
        )
    table = table.assign(**{c: d for c, d in _DEFAULTS.items() if c not in table})
    for name in (name for name in _TEXT_COLUMNS if name in table):
        table[name] = _words(table[name])
        if name in _DEFAULTS:
            table[name] = table[name].replace("", _DEFAULTS[name])
        if name in KEY:
            _refuse(table, table[name] == "", name, "is empty; fill it in.")
    for name in (name for name in _NUMBERS if name in table):
        table[name] = _numbers(table, name)
    for problem in patient_ids.problems(table.patient_id):
        raise InputError(str(problem))
    table["fold"] = table.fold.fillna(0)
    for name, choices in _WHOLE.items():
        if name in table:
            values = table[name]
            whole = values.between(0, _FOLDS, inclusive="left") & (values % 1 == 0)
            valid = values.isin(choices) if choices else whole
            expected = (
                "0 (RAI-avid) or 1 (RAI-refractory)"
                if choices
                else f"a whole number from 0 to {_FOLDS - 1}"
            )
            _refuse(table, values.notna() & ~valid, name, f"is not {expected}.")
    for name, meaning in (("score", "probability of RAI-refractory"), ("threshold", "threshold")):
        if name in table:
            # A threshold that nothing reaches is just above a score of 1.
            top = math.nextafter(1, 2) if name == "threshold" else 1
            outside = table[name].notna() & ~table[name].between(0, top)
            _refuse(table, outside, name, f"is outside [0, 1]; it must be a {meaning}.")
    _refuse(table, ~table.split.isin(SPLITS), "split", f"is not one of {', '.join(SPLITS)}.")
    for name, (expected, is_valid) in MEASURES.items():
        if name in table:
            wrong = table[name].notna() & ~is_valid(table[name])
            _refuse(table, wrong, name, f"is not {expected}; leave it empty if unknown.")
    _refuse_contradictions(table)
    return table.astype({"fold": int})


def complete(predictions: pd.DataFrame, threshold: float | None = None) -> pd.DataFrame:
    """Returns the checked table with `threshold`, `threshold_source` and `decision` in every row.

    The threshold is that of the table; if it is empty, the argument, else 0.5. A decision is
    positive if the score is at or above the threshold.

    Raises:
      InputError: see `check`; or a decision in the table contradicts its threshold.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold} is outside [0, 1].")
    table = check(predictions)
    if "decision" in table and "threshold" not in table:
        raise InputError(
            "there is a column `decision`, but no column `threshold`; add the threshold of the "
            "decisions, or delete the column `decision`."
        )
    value, name = 0.5, "0.5 by default: the table has no threshold"
    if threshold is not None:
        value, name = threshold, f"{threshold:g}, given for this report"
    given = table.get("threshold", pd.Series(np.nan, table.index))
    source = table.get("threshold_source", pd.Series(np.nan, table.index))
    source = source.where(source.notna() & (source != ""), "the table's column `threshold`")
    table["threshold_source"] = source.where(given.notna(), name)
    table["threshold"] = given.fillna(value)
    decisions = (table.score >= table.threshold).astype(float).where(table.score.notna())
    if "decision" in table:
        wrong = table.decision.notna() & decisions.notna() & (table.decision != decisions)
        _refuse(
            table, wrong, "decision", "contradicts `score` and `threshold`; correct one of them."
        )
    return table.assign(decision=decisions)


def _words(cells: pd.Series) -> pd.Series:
    """The cells as text without surrounding blanks, '' if empty."""
    if not pd.api.types.is_string_dtype(cells):
        cells = cells.astype(object)
    return cells.where(cells.notna(), "").astype(str).str.strip()


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    """The cells as floats, NaN if empty. Python parses floats exactly, pandas does not."""
    cells = table[name]
    if pd.api.types.is_numeric_dtype(cells):
        return cells.astype(float)
    words = _words(cells)
    words = words.where(~words.isin(_EMPTY), "nan")
    numbers = words.map(csv_reader.number).astype(float)
    wrong = numbers.isna() & (words.str.lower().str.lstrip("+-") != "nan")
    advice = csv_reader.not_a_number(words[wrong].iloc[0]) if wrong.any() else ""
    _refuse(table.assign(**{name: words}), wrong, name, f"is not a number{advice}.")
    return numbers


def _refuse(table: pd.DataFrame, wrong: pd.Series, column: str, message: str) -> None:
    if wrong.any():
        count, row = int(wrong.sum()), wrong.idxmax()
        value = table.loc[row, column]
        text = f"{value:g}" if isinstance(value, float) else repr(value)
        more = f" ({count} such rows.)" if count > 1 else ""
        raise InputError(f"row {row}, {column}: {text} {message}{more}")


def _refuse_contradictions(table: pd.DataFrame) -> None:
    lesion, fold = ["patient_id", "lesion_id"], ["run", "fold"]
    twice = table.duplicated(list(KEY))
    _refuse(table, twice, "lesion_id", "has another row in this run, fold and split; delete one.")
    again = table.duplicated([*fold, *lesion])
    _refuse(table, again, "lesion_id", "is in two splits of one fold; delete one.")
    for owner, column, message in (
        (["patient_id"], "cohort", "differs from another row of the same patient."),
        (lesion, "label", "differs from another row of the same lesion."),
    ):
        filled = table[table[column].notna()]
        first = filled.groupby(owner, sort=False)[column].transform("first")
        differs = (filled[column] != first).reindex(table.index, fill_value=False)
        _refuse(table, differs, column, message)

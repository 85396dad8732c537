"""The table of predictions: a row a lesion, run and fold, read and checked as a whole.

| column | | |
|---|---|---|
| patient_id, lesion_id | required | pseudonyms; a lesion_id is unique within its patient |
| label | required | 1 RAI-refractory, 0 RAI-avid; empty: not known, skipped and counted |
| score | required | probability of 1, in [0, 1]; empty: not scored, skipped and counted |
| run, cohort, split, fold | | default: by the file's name (`read`), 'primary', 'test', 0 |
| threshold, decision | | default: see `complete` |
| diameter_mm, age, sex, center | | as known |

Further columns are carried along.
"""

import pathlib

import numpy as np
import pandas as pd

from dtc_jax import csv_reader
from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

REQUIRED = ("patient_id", "lesion_id", "label", "score")
KEY = ("run", "cohort", "split", "fold", "patient_id", "lesion_id")
_DEFAULTS = {"run": "model", "cohort": "primary", "split": "test", "fold": "0"}
SPLITS = ("train", "validation", "test")
_WORDS = ("patient_id", "lesion_id", "run", "cohort", "split", "sex", "center")
_MEASURES = ("diameter_mm", "age")
_NUMBERS = ("label", "score", "threshold", "decision", "fold", *_MEASURES)
_EMPTY = ("", "nan", "NaN", "NA", "N/A", "null", "None")
_WHOLE = {"label": (0, 1), "decision": (0, 1), "fold": None}


def read(path: PathLike) -> pd.DataFrame:
    """Reads a predictions.csv; a million rows take about a minute.

    Returns:
      Ids and words as str, numbers as float; the index is the row's number in the file. Where it
      has no column `run`, that is the file's name or, of a predictions.csv, its folder's.

    Raises:
      InputError: what is wrong, with file, row and column.
    """
    path = pathlib.Path(path)
    cells = csv_reader.read(path, "a predictions.csv", each="lesion")
    if "run" not in cells:
        generic = path.stem == "predictions"
        cells.insert(0, "run", path.resolve().parent.name if generic else path.stem)
    try:
        return check(cells)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check(table: pd.DataFrame) -> pd.DataFrame:
    """A copy with defaults filled in and every cell checked.

    Args:
      table: see the module's docstring; cells are text or numbers. The index names rows in errors.

    Raises:
      InputError: a column is missing, a cell is not what it must be, a lesion occurs twice, a
        patient is in two cohorts, or a lesion in two splits or with two labels.
    """
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise InputError(
            f"no column {', '.join(missing)} among {', '.join(map(str, table.columns))}; needed "
            f"are {', '.join(REQUIRED)}."
        )
    table = table.assign(**{c: d for c, d in _DEFAULTS.items() if c not in table})
    for name in (name for name in _WORDS if name in table):
        table[name] = _words(table[name])
        if name in _DEFAULTS:
            table[name] = table[name].replace("", _DEFAULTS[name])
        if name in KEY:
            _refuse(table, table[name] == "", name, "is empty; fill it in.")
    for name in (name for name in _NUMBERS if name in table):
        table[name] = _numbers(table, name)
    table["fold"] = table.fold.fillna(0)
    for name, choices in _WHOLE.items():
        if name in table:
            known, values = table[name].notna(), table[name]
            whole = values.isin(choices) if choices else (values >= 0) & (values % 1 == 0)
            what = "0 (RAI-avid) or 1 (RAI-refractory)" if choices else "a whole number"
            _refuse(table, known & ~whole, name, f"is not {what}.")
    for name, what in (("score", "probability of RAI-refractory"), ("threshold", "threshold")):
        if name in table:
            outside = table[name].notna() & ~table[name].between(0, 1)
            _refuse(table, outside, name, f"is outside [0, 1]; give the {what} there.")
    _refuse(table, ~table.split.isin(SPLITS), "split", f"is none of {', '.join(SPLITS)}.")
    for name in _MEASURES:
        if name in table:
            valid = table[name].isna() | (np.isfinite(table[name]) & (table[name] >= 0))
            _refuse(table, ~valid, name, "is not a number from 0 on.")
    _refuse_contradictions(table)
    return table.astype({"fold": int})


def complete(predictions: pd.DataFrame, threshold: float | None = None) -> pd.DataFrame:
    """The checked table with `threshold`, `threshold_source` and `decision` in every row.

    The threshold is the table's own; where it has none, it is the argument's, else 0.5. A decision
    is positive where the score is at or above it.

    Raises:
      InputError: see `check`; or a decision of the table's own contradicts its threshold.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold} is outside [0, 1].")
    table = check(predictions)
    if "decision" in table and "threshold" not in table:
        raise InputError(
            "has decisions, but not the threshold that they were made with; add the column "
            "`threshold`, or leave `decision` out."
        )
    value, name = 0.5, "0.5 by default: the table has none"
    if threshold is not None:
        value, name = threshold, f"{threshold:g}, given for the report"
    own = table.get("threshold", pd.Series(np.nan, table.index))
    source = table.get("threshold_source", pd.Series(np.nan, table.index))
    source = source.where(source.notna() & (source != ""), "the table's column `threshold`")
    table["threshold_source"] = source.where(own.notna(), name)
    table["threshold"] = own.fillna(value)
    made = (table.score >= table.threshold).astype(float).where(table.score.notna())
    if "decision" in table:
        wrong = table.decision.notna() & made.notna() & (table.decision != made)
        _refuse(table, wrong, "decision", "is not what `score` and `threshold` give.")
    return table.assign(decision=made)


def _words(cells: pd.Series) -> pd.Series:
    """The cells as text without surrounding blanks, '' where empty."""
    if not pd.api.types.is_string_dtype(cells):
        cells = cells.astype(object)
    return cells.where(cells.notna(), "").astype(str).str.strip()


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    """The cells as floats, NaN where empty. Python reads a float to its last digit, pandas not."""
    cells = table[name]
    if pd.api.types.is_numeric_dtype(cells):
        return cells.astype(float)
    words = _words(cells)
    words = words.where(~words.isin(_EMPTY), "nan")
    try:
        return pd.Series(words.to_numpy(object).astype(float), words.index)
    except ValueError:
        wrong = (words != "nan") & pd.to_numeric(words, errors="coerce").isna()
        _refuse(table.assign(**{name: words}), wrong, name, "is not a number.")
        raise


def _refuse(table: pd.DataFrame, wrong: pd.Series, column: str, message: str) -> None:
    if wrong.any():
        count, row = int(wrong.sum()), wrong.idxmax()
        value = table.loc[row, column]
        shown = f"{value:g}" if isinstance(value, float) else repr(value)
        more = f" ({count} such rows.)" if count > 1 else ""
        raise InputError(f"row {row}, {column}: {shown} {message}{more}")


def _refuse_contradictions(table: pd.DataFrame) -> None:
    lesion, fold = ["patient_id", "lesion_id"], ["run", "fold"]
    twice = table.duplicated(list(KEY))
    _refuse(table, twice, "lesion_id", "has a row in this run, fold and split already; delete one.")
    again = table.duplicated([*fold, *lesion])
    _refuse(table, again, "lesion_id", "is in two splits of one fold; keep one.")
    for owner, column, message in (
        (["patient_id"], "cohort", "is another cohort than the same patient has elsewhere."),
        (lesion, "label", "is another label than the same lesion has elsewhere."),
    ):
        known = table[table[column].notna()]
        first = known.groupby(owner, sort=False)[column].transform("first")
        _refuse(
            table, (known[column] != first).reindex(table.index, fill_value=False), column, message
        )

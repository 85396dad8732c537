"""The manifest: a CSV with one row a lesion, read and checked as a whole.

| column | | |
|---|---|---|
| patient_id, lesion_id | required | pseudonyms of the study; lesion_id is unique |
| image, mask | required | NIfTI files, relative to the manifest's folder |
| mask_label | | the lesion's number in an instance mask; default: all that is not zero |
| label | | 1 RAI-refractory, 0 RAI-avid; empty: not known |
| cohort, center | | default 'primary', 'unknown' |
| split | | train, validation or test, where the split is given |
| diameter_mm, age, sex, scan_order, scanner, kvp, slice_mm | | as known |

Evidence columns are listed in `selection`. Further columns are carried along.
"""

import dataclasses
import math
import pathlib

import pandas as pd

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

REQUIRED = ("patient_id", "lesion_id", "image", "mask")
NUMBERS = ("mask_label", "label", "diameter_mm", "age", "scan_order", "kvp", "slice_mm")
TEXTS = ("cohort", "center", "split", "sex", "scanner")
SPLITS = ("train", "validation", "test")
_SHOWN = 50


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with the manifest.

    Attributes:
      row: line of the file as a spreadsheet numbers it (the header is 1); 0: the whole file.
      field: column.
      message: what is wrong and what to do.
    """

    row: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"row {self.row}, " if self.row else ""
        return f"{place}{self.field}: {self.message}"


class ManifestError(InputError):
    """All problems of a manifest at once."""

    def __init__(self, path: PathLike, problems: list[Problem]):
        """Args: path: of the manifest; problems: not empty."""
        self.problems = problems
        shown = [f"  {problem}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shown.append(f"  … and {len(problems) - _SHOWN} more")
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__("\n".join([f"{path}: {count}:", *shown]))


def read_manifest(path: PathLike) -> pd.DataFrame:
    """Reads and checks a manifest.

    Returns:
      One row a lesion, in the file's order: ids and texts as str, numbers as float (NaN: unknown),
      `image` and `mask` as absolute paths, every column of the table above, further ones as read.

    Raises:
      InputError: the file cannot be read as a table.
      ManifestError: something in it is wrong; it names every problem.
    """
    path = pathlib.Path(path)
    table = _read_csv(path)
    problems = validate(table, path.parent)
    if problems:
        raise ManifestError(path, problems)
    for column in NUMBERS:
        known = table[column] if column in table else pd.Series("", index=table.index)
        table[column] = pd.to_numeric(known, errors="coerce").astype(float)
    for column, default in zip(TEXTS, ("primary", "unknown", "", "", ""), strict=True):
        known = table[column] if column in table else pd.Series("", index=table.index)
        table[column] = known.replace("", default)
    root = path.parent.resolve()
    for column in ("image", "mask"):
        table[column] = [str(root / name) for name in table[column]]
    further = [c for c in table if c not in (*REQUIRED, *NUMBERS, *TEXTS)]
    return table[[*REQUIRED, *NUMBERS, *TEXTS]].join(_typed(table[further]))


def validate(table: pd.DataFrame, folder: PathLike) -> list[Problem]:
    """All that is wrong with a manifest.

    Args:
      table: all columns as str, '' where empty, as in the file.
      folder: of the manifest, to which the paths are relative.
    """
    missing = [column for column in REQUIRED if column not in table]
    if missing:
        return [
            Problem(0, column, f"no such column; the header has {', '.join(map(repr, table))}.")
            for column in missing
        ]
    problems = []
    for column in REQUIRED:
        for i in table.index[table[column] == ""]:
            problems.append(Problem(i + 2, column, "is empty; fill it in."))
    for column in NUMBERS:
        if column in table:
            problems += _number_problems(table[column])
    if "split" in table:
        for i in table.index[~table.split.isin((*SPLITS, ""))]:
            problems.append(
                Problem(i + 2, "split", f"{table.split[i]!r} is none of {', '.join(SPLITS)}.")
            )
    problems += _duplicates(table) + _patients_in_two_cohorts(table)
    for column in ("image", "mask"):
        problems += _path_problems(table[column], pathlib.Path(folder))
    return sorted(problems, key=lambda problem: problem.row)


def _read_csv(path: pathlib.Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of the manifest's CSV.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: the file is empty.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save it as 'CSV UTF-8'.") from error
    except pd.errors.ParserError as error:
        raise InputError(f"{path}: not a CSV ({' '.join(str(error).split())}).") from error
    if len(table.columns) == 1 and any(mark in table.columns[0] for mark in ";\t"):
        raise InputError(f"{path}: columns must be separated by commas; save it as a comma CSV.")
    if table.empty:
        raise InputError(f"{path}: has a header but no rows.")
    return table.rename(columns=str.strip).apply(lambda column: column.str.strip())


def _number_problems(column: pd.Series) -> list[Problem]:
    problems = []
    for i, text in column.items():
        if text == "" or text.lower() == "nan":
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            problems.append(Problem(i + 2, column.name, f"{text!r} is not a number."))
        elif column.name == "label" and value not in (0, 1):
            problems.append(
                Problem(
                    i + 2,
                    "label",
                    f"{text!r} is not 0 (RAI-avid) or 1 (RAI-refractory); leave it empty if unknown.",
                )
            )
        elif column.name == "mask_label" and (value < 1 or value != int(value)):
            problems.append(Problem(i + 2, "mask_label", f"{text!r} is not a whole number from 1."))
        elif column.name == "diameter_mm" and value <= 0:
            problems.append(Problem(i + 2, "diameter_mm", f"{text!r} must be positive."))
    return problems


def _duplicates(table: pd.DataFrame) -> list[Problem]:
    first = {}
    problems = []
    for i, lesion in table.lesion_id.items():
        if lesion and lesion in first:
            message = f"{lesion!r} stands in row {first[lesion] + 2} too; every lesion needs its own id."
            problems.append(Problem(i + 2, "lesion_id", message))
        first.setdefault(lesion, i)
    return problems


def _patients_in_two_cohorts(table: pd.DataFrame) -> list[Problem]:
    if "cohort" not in table:
        return []
    cohorts = table.cohort.replace("", "primary")
    first = {}
    problems = []
    for i, (patient, cohort) in enumerate(zip(table.patient_id, cohorts, strict=True)):
        if patient and first.setdefault(patient, cohort) != cohort:
            message = f"patient {patient!r} is in cohort {first[patient]!r} above and {cohort!r} here."
            problems.append(Problem(i + 2, "cohort", message + " A patient belongs to one."))
    return problems


def _path_problems(column: pd.Series, folder: pathlib.Path) -> list[Problem]:
    root = folder.resolve()
    problems = []
    seen: dict[str, str | None] = {"": None}
    for i, name in column.items():
        if name not in seen:
            path = root / name
            if not path.resolve().is_relative_to(root) or pathlib.Path(name).is_absolute():
                seen[name] = (
                    f"{name!r} leaves the manifest's folder; give a path inside it, relative to it."
                )
            elif not path.is_file():
                seen[name] = f"{name!r}: no such file in {folder}."
            else:
                seen[name] = None
        if seen[name]:
            problems.append(Problem(i + 2, str(column.name), seen[name]))
    return problems


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Further columns: numbers where every filled cell is one, else text with '' for empty."""
    typed = {}
    for column in table:
        text = table[column]
        numbers = pd.to_numeric(text, errors="coerce")
        is_number = numbers.notna() | text.isin(("", "nan"))
        typed[column] = numbers.astype(float) if is_number.all() and numbers.notna().any() else text
    return pd.DataFrame(typed, index=table.index)

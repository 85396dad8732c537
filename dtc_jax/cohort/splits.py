"""Which lesion is for training, which for validation, which for the test: by patient.

Hold-out: development to test as 7 : 3, three of ten stratified patient folds; validation is 15 % of
the development patients. k-fold: fold k is the test, validation comes from the rest.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from dtc_jax.errors import InputError, UsageError

SPLITS = ("train", "validation", "test")
_KINDS = ("holdout", "kfold", "temporal", "center", "column")
_PARTS = 20  # a share is drawn as whole parts of so many folds


def assign(table: pd.DataFrame, split: Any) -> pd.DataFrame:
    """Assigns every lesion to a split; the order of the rows does not matter.

    Args:
      table: labelled lesions of one cohort: lesion_id, patient_id, label, and scan_order
        (temporal), center (center) or split (column) where the kind needs it.
      split: kind ('holdout', 'kfold', 'temporal': the latest patients are the test, 'center': one
        centre is the test, 'column': as given), unit ('patient', or 'lesion', which leaks), folds,
        seed, test_fraction, validation_fraction, center.

    Returns:
      lesion_id, fold, split; for k-fold every lesion once a fold.

    Raises:
      UsageError: an unknown kind, unit or centre, or fewer patients than folds.
      InputError: a patient stands on both sides, or a split lacks a class.
    """
    if split.kind not in _KINDS:
        raise UsageError(f"config.split.kind={split.kind!r}: choose one of {', '.join(_KINDS)}.")
    if split.unit not in ("patient", "lesion"):
        raise UsageError(f"config.split.unit={split.unit!r}: choose 'patient' or 'lesion'.")
    table = table.sort_values("lesion_id").reset_index(drop=True)
    if split.kind == "kfold":
        tests = _folds(table, split.folds, split)
    elif split.kind == "holdout":
        tests = [_drawn(table, np.arange(len(table)), split.test_fraction, split, salt=0)]
    elif split.kind == "temporal":
        tests = [_latest(table, split)]
    elif split.kind == "center":
        tests = [_of_center(table, split.center)]
    else:
        return _checked(_given(table, split), table, split)
    parts = []
    for fold, test in enumerate(tests):
        name = np.where(test, "test", "train").astype(object)
        rest = np.flatnonzero(~test)
        name[_drawn(table, rest, split.validation_fraction, split, salt=fold + 1)] = "validation"
        parts.append(pd.DataFrame({"lesion_id": table.lesion_id, "fold": fold, "split": name}))
    return _checked(pd.concat(parts, ignore_index=True), table, split)


def fingerprint(assignment: pd.DataFrame) -> str:
    """SHA-256 of an assignment, whatever the order of its rows."""
    rows = assignment[["lesion_id", "fold", "split"]].astype(str).agg("\t".join, axis=1)
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _groups(table: pd.DataFrame, unit: str) -> np.ndarray:
    return (table.patient_id if unit == "patient" else table.lesion_id).to_numpy(str)


def _folds(table: pd.DataFrame, count: int, split: Any) -> list[np.ndarray]:
    """Test rows of each of `count` stratified folds. # list of [N] bool"""
    groups = _groups(table, split.unit)
    available = len(np.unique(groups))
    if available < count or count < 2:
        raise UsageError(
            f"config.split.folds={count}: there are {available} {split.unit}s; use from 2 to "
            f"{available} folds."
        )
    tests = []
    for _, rows in _stratified(table, np.arange(len(table)), count, split.seed, groups):
        test = np.zeros(len(table), bool)
        test[rows] = True
        tests.append(test)
    return tests


def _stratified(table: pd.DataFrame, rows: np.ndarray, count: int, seed: int, groups: np.ndarray):
    labels = table.label.to_numpy()[rows].astype(int)
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    # A class with fewer lesions than folds is refused by scikit-learn, and warned of: `_checked`
    # says in our words which split lacks a class.
    counts = np.bincount(labels, minlength=2)
    if counts.max() < count:
        raise UsageError(f"{len(rows)} lesions are too few to draw one part in {count} from.")
    for rest, part in folds.split(rows, labels, groups[rows]):
        yield rows[rest], rows[part]


def _drawn(
    table: pd.DataFrame, rows: np.ndarray, fraction: float, split: Any, salt: int
) -> np.ndarray:
    """A stratified share of `rows`: the first of _PARTS folds (fewer for few patients). # [N] bool"""
    if not 0 < fraction < 1:
        raise UsageError(f"config.split: a fraction of {fraction} is not between 0 and 1.")
    groups = _groups(table, split.unit)
    available = len(np.unique(groups[rows]))
    labels = table.label.to_numpy()[rows]
    most = min(available, int(max((labels == 0).sum(), (labels == 1).sum())))
    count = 10 if round(fraction * 10, 6) == round(fraction * 10) else _PARTS
    count = max(2, min(count, most))
    wanted = max(1, round(fraction * count))
    drawn = np.zeros(len(table), bool)
    parts = list(_stratified(table, rows, count, split.seed + salt, groups))
    for _, part in parts[:wanted]:
        drawn[part] = True
    return drawn


def _latest(table: pd.DataFrame, split: Any) -> np.ndarray:
    """Rows of the latest patients by their first scan. # [N] bool"""
    if "scan_order" not in table or table.scan_order.isna().any():
        raise InputError("config.split.kind='temporal' needs scan_order in every row.")
    first = table.groupby("patient_id").scan_order.min().sort_values(kind="stable")
    count = max(1, round(split.test_fraction * len(first)))
    return table.patient_id.isin(first.index[-count:]).to_numpy()


def _of_center(table: pd.DataFrame, center: str) -> np.ndarray:
    if center not in set(table.center):
        names = ", ".join(sorted(set(table.center)))
        raise UsageError(f"config.split.center={center!r}: the centres are {names}.")
    return (table.center == center).to_numpy()


def _given(table: pd.DataFrame, split: Any) -> pd.DataFrame:
    """The split of the manifest; validation is drawn from its training rows where it has none."""
    name = table.get("split", pd.Series("", index=table.index)).to_numpy(object)
    bad = ~np.isin(name.astype(str), SPLITS)
    if bad.any():
        lesion = table.lesion_id[bad].iloc[0]
        raise InputError(
            f"config.split.kind='column': lesion {lesion} has no split; fill in train, validation "
            "or test in every row."
        )
    if not (name == "validation").any():
        rows = np.flatnonzero(name == "train")
        name[_drawn(table, rows, split.validation_fraction, split, salt=1)] = "validation"
    return pd.DataFrame({"lesion_id": table.lesion_id, "fold": 0, "split": name})


def _checked(assignment: pd.DataFrame, table: pd.DataFrame, split: Any) -> pd.DataFrame:
    known = assignment.merge(table[["lesion_id", "patient_id", "label"]], on="lesion_id")
    if split.unit == "patient":
        sides = known.groupby(["fold", "patient_id"]).split.nunique()
        if (sides > 1).any():
            names = sorted({patient for _, patient in sides.index[sides > 1]})
            raise InputError(
                f"split: the lesions of {len(names)} patients stand on more than one side "
                f"({', '.join(names[:5])}{', …' if len(names) > 5 else ''}); give each patient one "
                "split, or choose config.split.unit='lesion' to measure what that flatters."
            )
    for (fold, name), rows in known.groupby(["fold", "split"]):
        if rows.label.nunique() < 2:
            raise InputError(
                f"split: {name} of fold {fold} has {len(rows)} lesions, all of label "
                f"{rows.label.iloc[0]:.0f}; use fewer folds, another seed or more patients."
            )
    for name in SPLITS:
        if name not in set(known.split):
            raise InputError(f"split: no lesion is for {name}.")
    return assignment

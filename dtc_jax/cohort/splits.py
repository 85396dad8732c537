"""Assigns lesions to training, validation and test, by patient.

Hold-out: development to test as 7 : 3, three of ten stratified patient folds; validation is 15 % of
the development patients. Two parts: the same without validation. k-fold: fold k is the test,
validation comes from the rest. Nothing here depends on the order of the rows.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.cohort import stratified
from dtc_jax.errors import InputError, unknown_choice
from dtc_jax.statistics.predictions_table import SPLITS

CLASSES = ("RAI-avid (0)", "RAI-refractory (1)")
_SIDES = {True: "test", False: "train"}
_NAMED = 5  # patients or lesions in a message
_COLUMNS = {"column": "split", "temporal": "scan_order", "center": "center"}  # what a kind needs


def assign(
    table: pd.DataFrame,
    split: Any,
    classes: tuple[str, str] = CLASSES,
    each_side_needs_both: bool = True,
    is_tested_elsewhere: bool = False,
) -> pd.DataFrame:
    """Assigns every labelled lesion to a split.

    Args:
      table: lesions of one cohort: lesion_id, patient_id, label (NaN: left out) and, where the kind
        needs it, scan_order, center or split.
      split: a `split_rule.Rule`, of any kind but 'file'.
      classes: what the labels 0 and 1 mean, for messages.
      each_side_needs_both: whether a side without one of the classes is refused; where they are but
        strata, what is given as it is needs not have both.
      is_tested_elsewhere: whether another cohort is the test, so that what is given as it is needs
        not have one.

    Returns:
      lesion_id, fold, split, in the table's order; with 'kfold' every lesion once a fold.

    Raises:
      InputError: a patient would be on both sides, a split lacks a class, or the column that the
        kind needs has gaps.
      UsageError: there are fewer patients than folds.
    """
    labelled = table[table.label.notna()].reset_index(drop=True)
    if labelled.empty:
        raise InputError("split: no lesion has a label; fill in the manifest's column `label`.")
    # Sorted: what the drawing sees depends on the lesions alone. A group is never divided.
    rows = labelled.assign(
        patient_id=labelled.patient_id.astype(object).fillna(labelled.lesion_id),
        label=labelled.label.astype(int),
    ).sort_values("lesion_id")
    rows["group"] = rows[f"{split.unit}_id"]
    rows["meaning"] = pd.Categorical.from_codes(rows.label, list(classes))
    folds = []
    for fold, names in enumerate(_names(rows, split)):
        _refuse_divided_patients(rows, names, split.unit)
        if each_side_needs_both:
            has_none = split.kind == "column" and is_tested_elsewhere and "test" not in set(names)
            needed = [name for name in split.parts if name != "test" or not has_none]
            _refuse_missing_classes(rows, names, fold, needed)
        assigned = rows.assign(fold=fold, split=names)[["lesion_id", "fold", "split"]]
        folds.append(assigned.sort_index())
    return pd.concat(folds, ignore_index=True)


def assign_unlabelled(table: pd.DataFrame, others: pd.DataFrame, split: Any) -> pd.DataFrame:
    """Assigns patients without a labelled lesion, or without any, to the sides of a hold-out split.

    They have no label to stratify by, so they are not part of the split of the others, which does
    not depend on them. They follow its rule as far as possible.

    With kind 'column' their side is the one that is given. With 'temporal' those are tested whose
    first scan is not before that of every other tested patient; with 'center' those of the centre
    that is left out. With 'holdout' `test_fraction` of them are drawn, at least one, so that some
    are tested. But for 'column', `validation_fraction` of the rest are drawn for validation.

    Args:
      table: their rows of the manifest.
      others: patient_id, scan_order and split of the lesions of the others, see `assign`.
      split: the same as theirs.

    Returns:
      patient_id and split, a row a patient, by patient.

    Raises:
      InputError: the column that the kind needs has gaps, or a patient is on two sides.
      UsageError: a side is none.
    """
    rows = table.sort_values("patient_id", ignore_index=True)
    if rows.empty:
        return pd.DataFrame({"patient_id": [], "split": []}, dtype=object)
    _need_for_patients(rows, split.kind)
    patients = rows.patient_id.unique()
    rng = np.random.default_rng([split.seed, *b"healthy"])
    if split.kind == "column":
        names = rows.split
    elif split.kind == "center":
        names = (rows.center == split.center).map(_SIDES)
    elif split.kind == "temporal":
        tested = others[others.split == "test"]
        start = tested.groupby("patient_id").scan_order.min().min()
        names = (rows.groupby("patient_id").scan_order.transform("min") >= start).map(_SIDES)
    else:
        count = max(round(split.test_fraction * len(patients)), 1)
        names = rows.patient_id.isin(rng.permutation(patients)[:count]).map(_SIDES)
    sides = _by_patient(rows, names)
    if split.kind != "column":
        rest = sides.index[sides == "train"].to_numpy()
        drawn = rng.permutation(rest)[: round(split.validation_fraction * len(rest))]
        sides[drawn] = "validation"
    return sides.rename_axis("patient_id").reset_index(name="split")


def fingerprint(assignment: pd.DataFrame) -> str:
    """SHA-256 (hex) of lesion_id, fold and split, whatever the order of the rows."""
    columns = (assignment[column] for column in ("lesion_id", "fold", "split"))
    rows = sorted(
        (str(lesion), int(fold), str(name)) for lesion, fold, name in zip(*columns, strict=True)
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _names(rows: pd.DataFrame, split: Any) -> list[np.ndarray]:
    """The split of every row, for each fold. # [N] str"""
    if split.kind == "column":
        return [_given(rows, split)]
    if split.kind == "kfold":
        tests = stratified.cross_validation(rows, split)
    elif split.kind in ("holdout", "two_part"):
        tests = [stratified.drawn(rows, split.test_fraction, split.seed)]
    elif split.kind == "temporal":
        tests = [_latest(rows, split.test_fraction)]
    else:
        tests = [_of_center(rows, split.center)]
    if not split.has_validation:
        return [np.where(test, "test", "train").astype(object) for test in tests]
    return [
        _with_validation(rows, np.where(test, "test", "train"), split, split.seed + 1 + fold)
        for fold, test in enumerate(tests)
    ]


def _with_validation(rows: pd.DataFrame, names: np.ndarray, split: Any, seed: int) -> np.ndarray:
    names = names.astype(object)
    development = np.flatnonzero(names == "train")
    drawn = stratified.drawn(rows.iloc[development], split.validation_fraction, seed)
    names[development[drawn]] = "validation"
    return names


def _latest(rows: pd.DataFrame, fraction: float) -> np.ndarray:
    """The groups whose first scan comes last. # [N] bool"""
    _need(rows, "scan_order", "temporal")
    firsts = rows.groupby("group").scan_order.min().reset_index()
    firsts = firsts.sort_values(["scan_order", "group"]).group
    count = min(max(round(fraction * len(firsts)), 1), len(firsts) - 1)
    return rows.group.isin(firsts.iloc[len(firsts) - count :]).to_numpy()


def _of_center(rows: pd.DataFrame, center: str) -> np.ndarray:
    """The lesions of one centre. # [N] bool"""
    _need(rows, "center", "center")
    if center not in set(rows.center):
        raise unknown_choice("config.split.center", center, sorted(set(rows.center)))
    if rows.center.nunique() == 1:
        raise InputError(f"config.split.kind is 'center', but {center!r} is the only centre.")
    return (rows.center == center).to_numpy()


def _given(rows: pd.DataFrame, split: Any) -> np.ndarray:
    """The split column, with a drawn validation where it gives none. # [N] str"""
    _need(rows, "split", "column")
    unknown = sorted(set(rows.split) - set(SPLITS))
    if unknown:
        raise unknown_choice("split", unknown[0], SPLITS)
    names = rows.split.to_numpy(object)
    # A patient on both sides has to be named before the drawing makes it one of three.
    _refuse_divided_patients(rows, names, split.unit)
    if "validation" not in names and "train" in names:
        names = _with_validation(rows, names, split, split.seed + 1)
    return names


def _need(rows: pd.DataFrame, column: str, kind: str) -> None:
    gaps = rows.lesion_id[rows[column].isna()] if column in rows else rows.lesion_id
    if len(gaps):
        raise InputError(
            f"config.split.kind is {kind!r}, but {column} is empty for {len(gaps)} of {len(rows)} "
            f"labelled lesions ({_some(gaps)}); fill it in, or choose another kind."
        )


def _refuse_divided_patients(rows: pd.DataFrame, names: np.ndarray, unit: str) -> None:
    if unit == "lesion":
        return
    sides = rows.assign(split=names).groupby("patient_id").split.nunique()
    divided = sides.index[sides > 1]
    if len(divided):
        raise InputError(
            f"split: patients on more than one side: {_some(divided)}. Give all lesions of a "
            "patient the same side, or set config.split.unit to 'lesion' to measure the bias."
        )


def _refuse_missing_classes(
    rows: pd.DataFrame, names: np.ndarray, fold: int, needed: Sequence[str]
) -> None:
    for name in needed:
        for meaning in rows.meaning.cat.categories:
            if not ((names == name) & (rows.meaning == meaning)).any():
                count = np.count_nonzero(names == name)
                raise InputError(
                    f"split: none of the {count} lesions for {name} (fold {fold}) is {meaning}; "
                    "both classes are needed. Add patients, or change config.split (seed, folds, "
                    "fractions, center) or the column `split`."
                )


def _some(names: Any) -> str:
    names = sorted(map(str, names))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _need_for_patients(rows: pd.DataFrame, kind: str) -> None:
    column = _COLUMNS.get(kind, "patient_id")
    gaps = rows.patient_id[rows[column].isna()]
    if len(gaps):
        raise InputError(
            f"config.split.kind is {kind!r}, but {column} is empty for {len(gaps)} of {len(rows)} "
            f"rows of patients without a labelled lesion (such as one of patient {gaps.iloc[0]}); "
            "fill it in, or choose another kind."
        )


def _by_patient(rows: pd.DataFrame, names: pd.Series) -> pd.Series:
    """The side of each patient. # index: patient_id"""
    sides = names.groupby(rows.patient_id)
    divided = sides.nunique()
    divided = divided.index[divided > 1]
    if len(divided):
        raise InputError(
            f"split: {len(divided)} patients without a labelled lesion are on more than one side, "
            f"such as {divided[0]}; give all scans of a patient the same side."
        )
    first = sides.first().astype(object)
    for name in first:
        if name not in SPLITS:
            raise unknown_choice("split", name, SPLITS)
    return first

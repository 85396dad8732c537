"""AUC and rates by diameter, centre, sex and age, and whether the AUCs differ."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dtc_jax.errors import unknown_choice
from dtc_jax.statistics import rates, roc, sex, tables
from dtc_jax.statistics.estimate import plain, plain_list
from dtc_jax.statistics.formatting import count

ROUNDINGS = ("nearest", "down")
MIN_LESIONS = 5  # of each class, for a level to have figures
DIAMETERS = ("≤ 4 mm", "5 mm", "6 mm", "7 mm", "8 mm", "9 mm", "≥ 10 mm")
_RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
_POINTS = 200  # of the ROC curve of a level
_NO_TEST = "no test: fewer than two levels have figures"


def diameter_groups(diameter_mm: np.ndarray, rounding: str = "nearest") -> np.ndarray:
    """The study's seven groups, as numbers 0 (≤ 4 mm) to 6 (≥ 10 mm); NaN where unknown.

    Args:
      diameter_mm: [N] largest diameters.
      rounding: to whole millimetres: 'nearest' (halves up) or 'down'; the study does not state it.

    Raises:
      UsageError: there is no such rounding.
    """
    if rounding not in ROUNDINGS:
        raise unknown_choice("diameter_rounding", rounding, ROUNDINGS)
    whole = np.floor(np.asarray(diameter_mm, dtype=np.float64) + 0.5 * (rounding == "nearest"))
    return np.clip(whole, 4, 10) - 4


def subgroups(table: pd.DataFrame, rounding: str = "nearest") -> list[dict[str, Any]]:
    """Figures by each factor that is a column of the table: `subgroups` of `study`.

    Args:
      table: columns patient_id, lesion_id, label, score, decision (no NaN) and, if known,
        diameter_mm, center, sex and age. A lesion with an unknown value is in no level; one that
        several folds scored counts once.
      rounding: see `diameter_groups`.
    """
    labels, scores = table.label.to_numpy(np.int64), table.score.to_numpy(np.float64)
    patients = table.patient_id.to_numpy(str)
    decisions, lesions = table.decision.to_numpy(np.int64), tables.lesions(table)
    arrays = (labels, lesions, scores, patients, decisions)
    return [
        {
            "factor": factor,
            "note": note,
            "levels": [
                _level(name, *(values[rows] for values in arrays)) for name, rows in levels.items()
            ],
            "interaction": interaction(
                labels,
                scores,
                patients,
                [rows for rows in levels.values() if _enough(labels[rows], lesions[rows])],
            ),
        }
        for factor, note, levels in _factors(table, rounding)
        if levels
    ]


def interaction(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, levels: list[np.ndarray]
) -> dict[str, Any]:
    """Tests whether the AUCs of K disjoint levels are equal; patients may be in several levels.

    Wald's test of the K - 1 contrasts with the covariance of the contributions of the patients,
    as Hotelling's F with m patients, the smallest number with a lesion of a class in a level (for
    independent levels, compare Hanley and McNeil, Radiology 1982).

    Args:
      labels: [N] 0 or 1.
      scores: [N].
      patients: [N] patient ids.
      levels: K arrays [N] of bool.

    Returns:
      {statistic, df: [numerator, denominator], p, note}, None if there is no test.
    """
    result = {"statistic": None, "df": None, "p": None, "note": _NO_TEST}
    if len(levels) < 2:
        return result
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    fewest = min(
        len(np.unique(patient[rows & (labels == value)])) for rows in levels for value in (0, 1)
    )
    top = len(levels) - 1
    if fewest <= top + 1:
        return result | {"note": f"no test: a class has only {count(fewest, 'patient')} in a level"}
    areas = np.array([roc.auc(labels[rows], scores[rows]) for rows in levels])
    contributions = np.stack(
        [sum(roc.deviations(labels[r], scores[r], patient[r], len(names))) for r in levels]
    )  # [K, patients]
    contrast = np.eye(top, top + 1) - np.eye(top, top + 1, 1)  # each level minus the next
    shift = contrast @ contributions
    covariance = fewest / (fewest - 1) * shift @ shift.T
    known = (contributions**2).sum(axis=1) < roc.NO_VARIANCE  # an AUC of 1 of few, by chance
    if known.any() or np.linalg.matrix_rank(covariance, hermitian=True) < top:
        return result | {"note": "no test: an AUC has no variance"}
    difference = contrast @ areas
    wald = float(difference @ np.linalg.solve(covariance, difference))
    bottom = fewest - top
    statistic = wald * bottom / (top * (fewest - 1))
    p = float(stats.f.sf(statistic, top, bottom))
    note = f"F({top}, {bottom}), clustered by patient"
    return {"statistic": plain(statistic), "df": [top, bottom], "p": plain(p), "note": note}


def _factors(table: pd.DataFrame, rounding: str) -> list[tuple[str, str, dict[str, np.ndarray]]]:
    """Name, note and levels (rows [N] of bool) of each factor in the table."""
    factors = []
    if "diameter_mm" in table:
        group = diameter_groups(table.diameter_mm.to_numpy(np.float64), rounding)
        target = "to the nearest mm, halves up" if rounding == "nearest" else "down to whole mm"
        levels = {name: group == i for i, name in enumerate(DIAMETERS)}
        factors.append(("diameter", f"largest diameter, rounded {target}", levels))
    if "center" in table:
        words = table.center.astype(object).where(table.center.notna(), "").astype(str).to_numpy()
        levels = {name: words == name for name in sorted(set(words) - {""})}
        factors.append(("center", "as in the table", levels))
    if "sex" in table:
        known = sex.read(table.sex)
        levels = {name.capitalize(): known == name for name in (sex.FEMALE, sex.MALE)}
        factors.append(("sex", "as in the table", levels))
    if "age" in table:
        age = table.age.to_numpy(np.float64)
        note = "cut at 55 years, as in the staging of the eighth AJCC edition"
        factors.append(("age", note, {"< 55 years": age < 55, "≥ 55 years": age >= 55}))
    return [
        (name, note, {k: v for k, v in levels.items() if v.any()}) for name, note, levels in factors
    ]


def _enough(labels: np.ndarray, lesions: np.ndarray) -> bool:
    return min(tables.by_label(labels, lesions)) >= MIN_LESIONS


def _level(
    name: str,
    labels: np.ndarray,
    lesions: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    decisions: np.ndarray,
) -> dict[str, Any]:
    enough = _enough(labels, lesions)
    positives, negatives = tables.by_label(labels, lesions)
    shares = rates.rates(labels, decisions, patients)
    found = {key: shares[key].as_dict() for key in _RATES if shares[key].n >= MIN_LESIONS}
    if not enough:  # of one class alone, accuracy would be its sensitivity or its specificity
        found.pop("accuracy", None)
    return {
        "level": name,
        "lesions": len(np.unique(lesions)),
        "patients": len(np.unique(patients)),
        "positives": positives,
        "negatives": negatives,
        "auc": roc.auc_interval(labels, scores, patients).as_dict() if enough else None,
        "accuracy": found.get("accuracy"),
        "rates": {key: found.get(key) for key in _RATES},
        "confusion": dataclasses.asdict(rates.confusion(labels, decisions)),
        "roc": _curve(labels, scores) if enough else None,
        "note": "" if enough else "too few",
    }


def _curve(labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    fpr, tpr, _ = roc.curve(labels, scores)
    step = np.unique(np.linspace(0, len(fpr) - 1, _POINTS).round().astype(int))
    return {"fpr": plain_list(fpr[step]), "tpr": plain_list(tpr[step])}

"""The figures of one run, cohort and split: SECTION of `study`."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from dtc_jax.statistics import (
    abstention,
    bootstrap,
    calibration,
    clustering,
    decision_curve,
    patient_level,
    rates,
    roc,
    subgroups,
    tables,
)
from dtc_jax.statistics.estimate import Estimate, plain, plain_list

RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
_MAX_POINTS = 500  # of an ROC curve


def section(
    rows: pd.DataFrame,
    development: pd.DataFrame,
    *,
    patient_truth: str,
    diameter_rounding: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """All figures of `rows`, see `study`.

    Args:
      rows: of one run, cohort and split, completed by `predictions_table.complete`.
      development: training and validation rows of the run, of all cohorts.
      patient_truth: see `patient_level`.
      diameter_rounding: see `subgroups`.
      resamples: of the patient bootstrap.
      seed: of the bootstrap.
    """
    used = tables.usable(rows)
    figures = tables.figures(rows)
    by_name = {name: figures.pop(name) for name in RATES}
    result = {**figures, **_population(used, development), "rates": by_name}
    if used.empty:
        return result
    labels, scores = used.label.to_numpy(np.int64), used.score.to_numpy(np.float64)
    patients, decisions = used.patient_id.to_numpy(str), used.decision.to_numpy(np.int64)
    lesions = tables.lesions(used)
    naive = rates.rates(labels, decisions, lesions)
    bootstrap_args = {"resamples": resamples, "seed": seed}
    both = 0 < labels.sum() < len(labels)
    return result | {
        "auc_naive": _naive(roc.auc_interval(labels, scores, lesions)),
        "rates_naive": {name: _naive(estimate) for name, estimate in naive.items()},
        "design_effect": plain(clustering.design_effect(labels, scores, patients, lesions)),
        "icc": {
            "positives": plain(clustering.icc(scores[labels == 1], patients[labels == 1])),
            "negatives": plain(clustering.icc(scores[labels == 0], patients[labels == 0])),
            "correct": plain(clustering.icc(labels == decisions, patients)),
        },
        **_ranking(labels, scores, patients, decisions, **bootstrap_args),
        "decision_curve": decision_curve.decision_curve(labels, scores, patients, **bootstrap_args),
        "calibration": {
            **calibration.summary(labels, scores, patients),
            "brier_prevalence": plain(float(labels.mean() * (1 - labels.mean()))),
            "reliability": calibration.reliability(labels, scores, patients),
            "recalibrated": _recalibrated(used, development),
            "prevalence": calibration.by_prevalence(labels, decisions, patients, **bootstrap_args)
            if both
            else None,
        },
        "subgroups": subgroups.subgroups(used, diameter_rounding),
        "patient_level": patient_level.patient_level(used, patient_truth, **bootstrap_args),
        "abstention": abstention.risk_coverage(
            labels, scores, used.threshold.to_numpy(), patients, **bootstrap_args
        )
        | {"conformal": _conformal(used, development)},
    }


def _naive(estimate: Estimate) -> dict[str, Any]:
    """An estimate with lesions as clusters, labelled as such."""
    interval = estimate.interval.replace("by patient", "by lesion")
    return estimate.as_dict() | {"patients": None, "interval": interval}


def _population(used: pd.DataFrame, development: pd.DataFrame) -> dict[str, Any]:
    training = development[development.split == "train"]
    in_training = pd.MultiIndex.from_frame(training[["fold", "patient_id"]].drop_duplicates())
    evaluated = pd.MultiIndex.from_frame(used[["fold", "patient_id"]])
    outside = used.split.ne("train").to_numpy()
    return {
        "patients_with_positive": int(used[used.label == 1].patient_id.nunique()),
        "patients_with_negative": int(used[used.label == 0].patient_id.nunique()),
        "prevalence": plain(float(used.label.mean())),
        "leaked_patients": int(used[outside & evaluated.isin(in_training)].patient_id.nunique()),
    }


def _ranking(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    decisions: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """ROC curve, bootstrapped AUC and average precision."""
    n, count = len(labels), len(np.unique(patients))
    if not 0 < labels.sum() < n:
        none = Estimate(np.nan, np.nan, np.nan, n, count, "none: one class only").as_dict()
        return {"auc_bootstrap": none, "average_precision": none, "roc": None}
    areas, precisions, tpr = bootstrap.curves(labels, scores, patients, resamples, seed)
    precision = metrics.average_precision_score(labels, scores)
    low, high = bootstrap.band(tpr)
    area = roc.auc(labels, scores)
    points = roc.curve(labels, scores)
    step = np.unique(np.linspace(0, len(points[0]) - 1, _MAX_POINTS).round().astype(int))
    fpr, tpr, thresholds = (values[step] for values in points)
    return {
        "auc_bootstrap": bootstrap.estimate(area, areas, n, count).as_dict(),
        "average_precision": bootstrap.estimate(precision, precisions, n, count).as_dict(),
        "roc": {
            "fpr": plain_list(fpr),
            "tpr": plain_list(tpr),
            "threshold": [None, *plain_list(thresholds[1:])],
            "band": {
                "fpr": bootstrap.GRID.tolist(),
                "low": plain_list(low),
                "high": plain_list(high),
            },
            "operating_point": {
                "fpr": float(decisions[labels == 0].mean()),
                "tpr": float(decisions[labels == 1].mean()),
            },
        },
    }


def _validation(used: pd.DataFrame, development: pd.DataFrame) -> dict[Any, pd.DataFrame] | None:
    """Validation rows of each test fold; None if one lacks a class, or if this is not the test."""
    validation = tables.usable(development[development.split == "validation"])
    by_fold = {fold: validation[validation.fold == fold] for fold in used.fold.unique()}
    complete = all(rows.label.nunique() == 2 for rows in by_fold.values())
    return by_fold if complete and (used.split == "test").all() else None


def _recalibrated(used: pd.DataFrame, development: pd.DataFrame) -> dict[str, Any] | None:
    by_fold = _validation(used, development)
    if by_fold is None:
        return None
    result = {}
    for method in calibration.METHODS:
        scores = pd.Series(np.nan, used.index)
        for fold, rows in by_fold.items():
            recalibrate = calibration.fit(method, rows.label.to_numpy(), rows.score.to_numpy())
            in_fold = used.fold == fold
            scores[in_fold] = recalibrate(used.score[in_fold].to_numpy())
        result[method] = calibration.summary(
            used.label.to_numpy(np.int64), scores.to_numpy(), used.patient_id.to_numpy(str)
        )
    return result


def _conformal(used: pd.DataFrame, development: pd.DataFrame) -> list[dict[str, Any]]:
    by_fold = _validation(used, development)
    if by_fold is None:
        return []
    fitted = {
        fold: abstention.Conformal.fit(
            rows.label.to_numpy(), rows.score.to_numpy(), rows.patient_id.to_numpy(str)
        )
        for fold, rows in by_fold.items()
    }
    result = []
    for alpha in abstention.ALPHAS:
        sets = np.zeros((len(used), 2), dtype=bool)
        for fold, conformal in fitted.items():
            in_fold = (used.fold == fold).to_numpy()
            sets[in_fold] = conformal.sets(used.score.to_numpy()[in_fold], alpha)
        result.append(
            abstention.triage(
                used.label.to_numpy(np.int64),
                sets,
                used.patient_id.to_numpy(str),
                alpha,
                list(fitted.values()),
            )
        )
    return result

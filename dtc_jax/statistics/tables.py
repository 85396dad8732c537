"""The figures of a predictions table as the JSON values of metrics.json."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.errors import InputError
from dtc_jax.statistics import rates, roc
from dtc_jax.statistics.estimate import plain

_COLUMNS = (
    *("cohort", "split", "fold", "patient_id", "lesion_id"),
    *("label", "score", "threshold", "decision"),
)


def metrics(predictions: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """AUC, accuracy, sensitivity, specificity, PPV, NPV, F1 by cohort and split, folds pooled.

    Args:
      predictions: rows of one run with the columns of predictions.csv and, if known,
        `threshold_source`. Rows without a label or a score are skipped and counted.

    Returns:
      {cohort: {split: figures}}, JSON values without NaN. Every estimate has value, low, high
      (95 %), n, patients and the method of its interval.

    Raises:
      InputError: a column is missing, a label is not 0 or 1, or the rows are of several runs.
    """
    _check(predictions)
    return {
        str(cohort): {
            str(split): figures(group) for split, group in rows.groupby("split", sort=False)
        }
        for cohort, rows in predictions.groupby("cohort", sort=False)
    }


def usable(group: pd.DataFrame) -> pd.DataFrame:
    """The rows with a label, a score and a decision."""
    return group[group.label.notna() & group.score.notna() & group.decision.notna()]


def lesions(rows: pd.DataFrame) -> np.ndarray:
    """Lesion numbers [N]; a lesion that several folds scored has one number."""
    return rows.groupby(["patient_id", "lesion_id"], sort=False).ngroup().to_numpy()


def by_label(labels: np.ndarray, lesions: np.ndarray) -> tuple[int, int]:
    """How many lesions are positive, and how many negative.

    Args:
      labels: [N] 0 or 1, of each prediction.
      lesions: [N] numbers, see `lesions`.
    """
    positive, negative = (len(np.unique(lesions[labels == value])) for value in (1, 0))
    return positive, negative


def figures(group: pd.DataFrame) -> dict[str, Any]:
    """The figures of one cohort and split, see `metrics`."""
    used = usable(group)
    labels, scores = used.label.to_numpy(np.int64), used.score.to_numpy(np.float64)
    patients, decisions = used.patient_id.to_numpy(str), used.decision.to_numpy(np.int64)
    numbers = lesions(used)
    positive_lesions, negative_lesions = by_label(labels, numbers)
    estimates = {
        "auc": roc.auc_interval(labels, scores, patients),
        **rates.rates(labels, decisions, patients),
    }
    result = {
        "predictions": len(used),  # more than lesions if folds share lesions
        "lesions": len(np.unique(numbers)),
        "patients": int(used.patient_id.nunique()),
        "positives": int(labels.sum()),
        "negatives": int((1 - labels).sum()),
        "positive_lesions": positive_lesions,
        "negative_lesions": negative_lesions,
        "without_label": int(group.label.isna().sum()),
        "without_score": int((group.label.notna() & group.score.isna()).sum()),
        **{name: estimate.as_dict() for name, estimate in estimates.items()},
        "confusion": dataclasses.asdict(rates.confusion(labels, decisions)),
        "threshold": _thresholds(used),
    }
    if used.fold.nunique() > 1:
        # The pooled AUC ranks scores of different networks together; these do not.
        result["auc_by_fold"] = {
            str(fold): plain(roc.auc(rows.label.to_numpy(), rows.score.to_numpy()))
            for fold, rows in used.groupby("fold")
        }
    return result


def _thresholds(used: pd.DataFrame) -> dict[str, Any]:
    """The thresholds (one, or one per fold) and their sources."""
    distinct = used.drop_duplicates(["fold", "threshold"]).sort_values("fold", kind="stable")
    values = [float(value) for value in distinct.threshold]
    source = "the table's column `threshold`"
    if "threshold_source" in used:
        source = "; ".join(sorted(used.threshold_source.dropna().unique())) or source
    return {"values": [plain(value) for value in values], "source": source}


def _check(predictions: pd.DataFrame) -> None:
    missing = [column for column in _COLUMNS if column not in predictions]
    if missing:
        raise InputError(f"predictions: no column {', '.join(missing)}.")
    if "run" in predictions and predictions.run.nunique() > 1:
        raise InputError("predictions: the table has several runs; give the rows of one `run`.")
    invalid = predictions[~(predictions.label.isin((0, 1)) | predictions.label.isna())]
    if len(invalid):
        lesion, label = invalid.iloc[0][["lesion_id", "label"]]
        raise InputError(
            f"predictions: lesion {lesion}: label {label!r} is neither 0, 1 nor empty."
        )

"""From lesions to patients, since I-131 is given to patients.

| rule | score of a patient |
|---|---|
| any | the highest score of the lesions: one refractory lesion suffices to withhold I-131 |
| all | the lowest score: all lesions must be refractory |
| mean | the mean score |
| volume | the mean score weighted by the volume of a sphere of the lesion's diameter |
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.errors import unknown_choice
from dtc_jax.statistics import decision_curve, rates, roc

TRUTHS = ("any", "all")
RULES = ("any", "all", "mean", "volume")


def patients(table: pd.DataFrame, truth: str = "any") -> pd.DataFrame:
    """One row per patient: label, mixed, threshold, and one score per rule, named by the rule.

    A lesion that several folds scored counts once, with its mean score and threshold.

    Args:
      table: columns patient_id, lesion_id, label, score, threshold (no NaN) and, if known,
        diameter_mm; a patient with a lesion of unknown diameter has no 'volume' score.
      truth: 'any': a patient with both labels is refractory; 'all': such a patient is avid.

    Raises:
      UsageError: there is no such truth.
    """
    if truth not in TRUTHS:
        raise unknown_choice("patient_truth", truth, TRUTHS)
    columns = ["label", "score", "threshold", *(c for c in ("diameter_mm",) if c in table)]
    lesions = _mean(table.groupby(["patient_id", "lesion_id"], sort=True)[columns])
    grouped = lesions.groupby(level="patient_id")
    result = pd.DataFrame(
        {
            "label": grouped.label.max() if truth == "any" else grouped.label.min(),
            "mixed": grouped.label.nunique() > 1,
            "threshold": _mean(grouped.threshold),
            "any": grouped.score.max(),
            "all": grouped.score.min(),
            "mean": _mean(grouped.score),
        }
    )
    if "diameter_mm" in table:
        volume = lesions.diameter_mm**3
        total = volume.groupby(level="patient_id").sum(min_count=1)
        complete = volume.notna().groupby(level="patient_id").all()
        weighted = (volume * lesions.score).groupby(level="patient_id").sum()
        value = (weighted / total).clip(result["all"], result["any"])  # rounding may leave them
        result["volume"] = value.where(complete)
    return result


def _mean(grouped: Any) -> Any:
    """The means of groups; of equal numbers that very number, which rounding may miss.

    A score at the threshold is positive, so that the last bit of either counts.
    """
    return grouped.mean().clip(grouped.min(), grouped.max())


def patient_level(
    table: pd.DataFrame, truth: str, resamples: int, seed: int
) -> dict[str, Any] | None:
    """AUC, rates and decision curve of each rule: `patient_level` of `study`.

    Args:
      table: see `patients`.
      truth: see `patients`.
      resamples: of the bootstrap of the decision curve.
      seed: of the bootstrap.

    Returns:
      None if all patients have the same label.
    """
    people = patients(table, truth)
    if people.label.nunique() < 2:
        return None
    rules = {}
    for rule in (rule for rule in RULES if rule in people):
        scored = people[people[rule].notna()]
        if scored.label.nunique() < 2:
            continue
        labels, ids = scored.label.to_numpy(np.int64), scored.index.to_numpy(str)
        scores = scored[rule].to_numpy(np.float64)
        decisions = scores >= scored.threshold.to_numpy()
        estimates = rates.rates(labels, decisions, ids)
        rules[rule] = {
            "auc": roc.auc_interval(labels, scores, ids).as_dict(),
            "rates": {name: estimate.as_dict() for name, estimate in estimates.items()},
            "confusion": dataclasses.asdict(rates.confusion(labels, decisions)),
            "decision_curve": decision_curve.decision_curve(labels, scores, ids, resamples, seed),
        }
    return {
        "truth": truth,
        "mixed": int(people.mixed.sum()),
        "patients": len(people),
        "positives": int(people.label.sum()),
        "negatives": int((1 - people.label).sum()),
        "rules": rules,
    }

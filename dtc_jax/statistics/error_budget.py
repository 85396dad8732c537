"""From detection to diagnosis: how automatic regions change the performance of the classifier.

| region | lesions | score |
|---|---|---|
| manual | all | of the region that a reader drew |
| perturbed | all | of that region with small random changes |
| automatic | those that the segmenter found | of the region that it found |
| end_to_end | all | as automatic; a missed lesion ranks last and is classified as avid |

A missed lesion is never classified as refractory, whatever its label.
"""

from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics import comparison, rates, roc
from dtc_jax.statistics.estimate import UNIT, mean

REGIONS = ("manual", "perturbed", "automatic")
_MISSED = -1.0  # below every probability


def error_budget(lesions: pd.DataFrame) -> dict[str, Any]:
    """Figures of the classifier by the region that it is given.

    Args:
      lesions: one row per test lesion: patient_id, label (0 or 1), threshold, is_found, and for
        each of `REGIONS` its score and its Dice with the manual region, `dice_REGION` (NaN if the
        segmenter missed the lesion).

    Returns:
      JSON values without NaN: `regions`, {name: n, patients, auc, rates at the threshold, dice};
      `differences`, paired differences of AUC on the same lesions; and `cascade`, counts from
      lesion to correct decision.
    """
    found = lesions.is_found.to_numpy(bool)
    detected = lesions[found]
    end_to_end = lesions.assign(end_to_end=lesions.automatic.where(found, _MISSED))
    regions = {
        "manual": _figures(lesions, "manual"),
        "perturbed": _figures(lesions, "perturbed")
        | {
            "dice": _dice(lesions, "perturbed"),
            # On coarse voxels a small perturbation may change nothing.
            "changed": int((lesions.dice_perturbed < 1).sum()),
        },
        "manual_of_found": _figures(detected, "manual"),
        "automatic": _figures(detected, "automatic") | {"dice": _dice(detected, "automatic")},
        "end_to_end": _figures(end_to_end, "end_to_end"),
    }
    differences = {
        "perturbed - manual": _difference(lesions, "perturbed", "manual"),
        "automatic - manual, of the lesions found": _difference(detected, "automatic", "manual"),
        "end_to_end - manual": _difference(end_to_end, "end_to_end", "manual"),
    }
    return {"regions": regions, "differences": differences, "cascade": _cascade(end_to_end, found)}


def _figures(rows: pd.DataFrame, score: str) -> dict[str, Any]:
    labels, scores = rows.label.to_numpy(int), rows[score].to_numpy(float)
    patients = rows.patient_id.to_numpy(str)
    decisions = scores >= rows.threshold.to_numpy(float)
    estimates = rates.rates(labels, decisions, patients)
    names = ("accuracy", "sensitivity", "specificity")
    return {
        "lesions": len(rows),
        "patients": int(rows.patient_id.nunique()),
        "positives": int(labels.sum()),
        "auc": roc.auc_interval(labels, scores, patients).as_dict(),
        **{name: estimates[name].as_dict() for name in names},
    }


def _dice(rows: pd.DataFrame, region: str) -> dict[str, Any]:
    values, patients = rows[f"dice_{region}"].to_numpy(), rows.patient_id.to_numpy(str)
    return mean(values, patients, UNIT).as_dict()


def _difference(rows: pd.DataFrame, first: str, second: str) -> dict[str, Any] | None:
    labels = rows.label.to_numpy(int)
    if not 0 < labels.sum() < len(labels):
        return None
    scores = [rows[name].to_numpy(float) for name in (first, second)]
    patients = rows.patient_id.to_numpy(str)
    return comparison.paired(labels, scores[0], scores[1], patients).estimate.as_dict()


def _cascade(rows: pd.DataFrame, found: np.ndarray) -> dict[str, dict[str, int]]:
    """By label: numbers of lesions, of those found, and of those then classified correctly."""
    correct = (rows.end_to_end >= rows.threshold) == (rows.label == 1)
    correct_by_hand = (rows.manual >= rows.threshold) == (rows.label == 1)
    return {
        name: {
            "lesions": int(of.sum()),
            "right_by_hand": int((of & correct_by_hand).sum()),
            "found": int((of & found).sum()),
            "found_and_right": int((of & found & correct).sum()),
        }
        for name, of in (("refractory", rows.label == 1), ("avid", rows.label == 0))
    }

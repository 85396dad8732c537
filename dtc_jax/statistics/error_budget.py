"""From detection to diagnosis: what automatic regions cost the classifier, and where it is lost.

| region | the lesions | their score |
|---|---|---|
| manual | all | of the region that a reader drew |
| perturbed | all | of that region, drawn a little differently |
| automatic | those that the segmenter found | of the region that it found |
| end_to_end | all | the same; one that was missed ranks below all others, and is decided avid |

A missed lesion is never called refractory, whatever it is: nobody looks at it.
"""

from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics import comparison, rates, roc
from dtc_jax.statistics.estimate import mean

REGIONS = ("manual", "perturbed", "automatic")
_MISSED = -1.0  # below every probability


def error_budget(lesions: pd.DataFrame) -> dict[str, Any]:
    """The classifier's figures by the region that it is given.

    Args:
      lesions: a row a tested lesion: patient_id, label (0 or 1), threshold, is_found, and for each
        of `REGIONS` its score and its Dice with the manual region, `dice_REGION` (NaN where the
        segmenter missed the lesion).

    Returns:
      JSON values without NaN: `regions`, {name: n, patients, auc, rates at the threshold, dice};
      `differences`, of AUCs on the same lesions, in pairs; and `cascade`, counts from lesion to
      right decision.
    """
    found = lesions.is_found.to_numpy(bool)
    known = lesions[found]
    whole = lesions.assign(end_to_end=lesions.automatic.where(found, _MISSED))
    regions = {
        "manual": _figures(lesions, "manual"),
        "perturbed": _figures(lesions, "perturbed")
        | {
            "dice": _dice(lesions, "perturbed"),
            # On coarse voxels a small perturbation changes nothing, and then says nothing.
            "changed": int((lesions.dice_perturbed < 1).sum()),
        },
        "manual_of_found": _figures(known, "manual"),
        "automatic": _figures(known, "automatic") | {"dice": _dice(known, "automatic")},
        "end_to_end": _figures(whole, "end_to_end"),
    }
    differences = {
        "perturbed - manual": _difference(lesions, "perturbed", "manual"),
        "automatic - manual, of the lesions found": _difference(known, "automatic", "manual"),
        "end_to_end - manual": _difference(whole, "end_to_end", "manual"),
    }
    return {"regions": regions, "differences": differences, "cascade": _cascade(whole, found)}


def _figures(rows: pd.DataFrame, score: str) -> dict[str, Any]:
    labels, scores = rows.label.to_numpy(int), rows[score].to_numpy(float)
    patients = rows.patient_id.to_numpy(str)
    decisions = scores >= rows.threshold.to_numpy(float)
    known = rates.rates(labels, decisions, patients)
    names = ("accuracy", "sensitivity", "specificity")
    return {
        "lesions": len(rows),
        "patients": int(rows.patient_id.nunique()),
        "positives": int(labels.sum()),
        "auc": roc.auc_interval(labels, scores, patients).as_dict(),
        **{name: known[name].as_dict() for name in names},
    }


def _dice(rows: pd.DataFrame, region: str) -> dict[str, Any]:
    return mean(rows[f"dice_{region}"].to_numpy(), rows.patient_id.to_numpy(str)).as_dict()


def _difference(rows: pd.DataFrame, first: str, second: str) -> dict[str, Any] | None:
    labels = rows.label.to_numpy(int)
    if not 0 < labels.sum() < len(labels):
        return None
    one, other = rows[first].to_numpy(float), rows[second].to_numpy(float)
    found = comparison.paired(labels, one, other, rows.patient_id.to_numpy(str))
    return found.estimate.as_dict()


def _cascade(rows: pd.DataFrame, found: np.ndarray) -> dict[str, dict[str, int]]:
    """Of the lesions of each class: how many there are, are found, and are then decided rightly."""
    right = (rows.end_to_end >= rows.threshold) == (rows.label == 1)
    by_hand = (rows.manual >= rows.threshold) == (rows.label == 1)
    return {
        name: {
            "lesions": int(of.sum()),
            "right_by_hand": int((of & by_hand).sum()),
            "found": int((of & found).sum()),
            "found_and_right": int((of & found & right).sum()),
        }
        for name, of in (("refractory", rows.label == 1), ("avid", rows.label == 0))
    }

"""The optimistic bias of a split by lesions, and whether a network recognizes patients.

If it does, a network trained on one lesion of a patient can recognize the patient's other lesions
in the test, and a split by lesions measures memorization.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics import comparison
from dtc_jax.statistics.estimate import mean, plain

_LESION = ["patient_id", "lesion_id"]


def gap(by_lesion: pd.DataFrame, by_patient: pd.DataFrame) -> dict[str, Any]:
    """AUC with a split by lesions minus AUC with a split by patients, on the same lesions.

    Args:
      by_lesion: predictions of all folds of a cross-validation by lesions: fold, split, patient_id,
        lesion_id, label and score.
      by_patient: the same of a cross-validation by patients.

    Returns:
      auc_gap: ESTIMATE, paired and clustered by patient; p: two-sided, of no difference; siblings:
      the share of test lesions with another lesion of the patient in training, in the split by
      lesions. JSON values.
    """
    test = [rows[rows.split == "test"] for rows in (by_lesion, by_patient)]
    both = test[0].merge(
        test[1], on=[*_LESION, "label"], suffixes=("_lesion", "_patient"), validate="one_to_one"
    )
    columns = (both.label, both.score_lesion, both.score_patient, both.patient_id)
    difference = comparison.paired(*(column.to_numpy() for column in columns))
    return {
        "auc_gap": difference.estimate.as_dict(),
        "p": plain(difference.p),
        "siblings": _siblings(by_lesion),
    }


def dice_gap(by_lesion: pd.DataFrame, by_patient: pd.DataFrame) -> dict[str, Any]:
    """Dice with a split by lesions minus Dice with a split by patients, on the same patches.

    Args:
      by_lesion: cases of all folds of a cross-validation by lesions, each tested once: fold, split,
        patient_id, lesion_id and dice, which is NaN where a patch has no lesion.
      by_patient: the same of a cross-validation by patients.

    Returns:
      dice_gap: ESTIMATE of the mean difference, in pairs and clustered by patient; siblings: as in
      `gap`. JSON values.
    """
    test = [rows[rows.split == "test"] for rows in (by_lesion, by_patient)]
    both = test[0].merge(
        test[1], on=_LESION, suffixes=("_lesion", "_patient"), validate="one_to_one"
    )
    both = both[both.dice_lesion.notna() & both.dice_patient.notna()]
    difference = (both.dice_lesion - both.dice_patient).to_numpy()
    return {
        "dice_gap": mean(difference, both.patient_id.to_numpy(str)).as_dict(),
        "siblings": _siblings(by_lesion),
    }


def _siblings(by_lesion: pd.DataFrame) -> float:
    """The share of the tested rows whose patient has another row in training."""
    train = by_lesion.loc[by_lesion.split == "train", ["fold", "patient_id"]].drop_duplicates()
    test = by_lesion[by_lesion.split == "test"]
    return len(test.merge(train, on=["fold", "patient_id"])) / len(test)


def probe(
    features: np.ndarray,
    patients: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the nearest neighbour of a lesion in its fold belongs to the same patient.

    Neighbours are nearest by cosine similarity of the features, standardized within the fold.
    Chance is the result with permuted patients, again of lesions that then have another lesion of
    the patient in the fold: were those of before asked, most would find themselves alone. They are
    permuted within fold and label, so that separating the labels is not mistaken for recognizing
    patients.

    Args:
      features: [N, C] of lesions that the network was not trained on.
      patients: [N] patient ids.
      labels: [N] 0 or 1.
      folds: [N].
      draws: number of permutations.
      seed: of the permutations.

    Returns:
      lesions: number of lesions with another lesion of the patient in the fold; patients: number of
      their patients; found: the share whose nearest neighbour belongs to the patient; chance:
      {value, low, high}, mean and central 95 % of the permutations; p: one-sided, of no more than
      chance. JSON values; null if there is no such lesion.
    """
    features, folds = np.asarray(features, dtype=np.float64), np.asarray(folds)
    patient = np.unique(np.asarray(patients), return_inverse=True)[1]
    neighbor = np.empty(len(folds), dtype=np.int64)
    paired = np.zeros(len(folds), dtype=bool)
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        neighbor[rows] = rows[_nearest(features[rows])]
        counts = np.bincount(patient[rows])
        paired[rows] = counts[patient[rows]] > 1
    if not paired.any():
        chance = {"value": None, "low": None, "high": None}
        return {"lesions": 0, "patients": 0, "found": None, "chance": chance, "p": None}
    share = _share(patient, neighbor, paired)
    rng = np.random.default_rng(seed)
    strata = np.unique(np.stack([folds, np.asarray(labels)]), axis=1, return_inverse=True)[1]
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    drawn = np.empty(draws)
    for i in range(draws):
        order = np.arange(len(folds))
        for group in groups:
            order[group] = rng.permutation(group)
        drawn[i] = _share(patient[order], neighbor, paired[order])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {
        "lesions": int(paired.sum()),
        "patients": len(np.unique(patient[paired])),
        "found": share,
        "chance": {"value": float(drawn.mean()), "low": float(low), "high": float(high)},
        "p": plain(float((np.sum(drawn >= share - 1e-12) + 1) / (draws + 1))),
    }


def _nearest(features: np.ndarray) -> np.ndarray:
    """The nearest other row of each row by cosine similarity. # [N, C] -> [N]"""
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)
    similarity = scaled @ scaled.T  # [N, N]
    np.fill_diagonal(similarity, -math.inf)
    return similarity.argmax(axis=1)


def _share(patient: np.ndarray, neighbor: np.ndarray, paired: np.ndarray) -> float:
    return float(np.mean(patient[paired] == patient[neighbor[paired]]))

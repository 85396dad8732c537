"""How similar the lesions of a patient are, and how much precision that costs."""

import math

import numpy as np

from dtc_jax.statistics import roc


def icc(values: np.ndarray, patients: np.ndarray) -> float:
    """Intra-class correlation within patients: the one-way ANOVA estimator (Donner 1986).

    Args:
      values: [N].
      patients: [N] patient ids.

    Returns:
      At most 1; below 0 if lesions of one patient differ more than lesions of different patients;
      NaN if no patient repeats, if there is only one, or if all values are equal.
    """
    values = np.asarray(values, dtype=np.float64)
    names, patient, size = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    n, k = len(values), len(names)
    if k < 2 or n == k or np.ptp(values) == 0:
        return math.nan
    means = np.bincount(patient, weights=values) / size
    between = np.sum(size * (means - values.mean()) ** 2) / (k - 1)
    within = np.sum((values - means[patient]) ** 2) / (n - k)
    lesions = (n - np.sum(size**2) / n) / (k - 1)  # effective number per patient
    return float((between - within) / (between + (lesions - 1) * within))


def design_effect(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    lesions: np.ndarray | None = None,
) -> float:
    """Variance of the AUC clustered by patient, divided by the variance of independent lesions.

    Args:
      labels: [N] 0 or 1.
      scores: [N].
      patients: [N] patient ids.
      lesions: [N] lesion ids if a lesion has several predictions; None: one prediction each.

    Returns:
      NaN if a variance is zero or undefined.
    """
    lesions = np.arange(len(labels)) if lesions is None else lesions
    naive = roc.clustered_variance(labels, scores, lesions)
    return roc.clustered_variance(labels, scores, patients) / naive if naive > 1e-12 else math.nan

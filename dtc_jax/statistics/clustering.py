"""How alike the lesions of a patient are, and what that costs in precision."""

import math

import numpy as np

from dtc_jax.statistics import roc


def icc(values: np.ndarray, patients: np.ndarray) -> float:
    """Intra-class correlation within patients: the one-way ANOVA estimator (Donner 1986).

    Args:
      values: [N].
      patients: [N] patient ids.

    Returns:
      At most 1, below 0 where lesions of a patient differ more than those of two patients; NaN
      where no patient repeats, there is but one, or the values do not differ.
    """
    values = np.asarray(values, dtype=np.float64)
    names, patient, size = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    n, k = len(values), len(names)
    if k < 2 or n == k or np.ptp(values) == 0:
        return math.nan
    means = np.bincount(patient, weights=values) / size
    between = np.sum(size * (means - values.mean()) ** 2) / (k - 1)
    within = np.sum((values - means[patient]) ** 2) / (n - k)
    lesions = (n - np.sum(size**2) / n) / (k - 1)  # of a patient, as if all had equally many
    return float((between - within) / (between + (lesions - 1) * within))


def design_effect(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    lesions: np.ndarray | None = None,
) -> float:
    """The variance of the AUC with patients for clusters, over the one of independent lesions.

    Args:
      labels: [N] 0 or 1.
      scores: [N].
      patients: [N] patient ids.
      lesions: [N] ids of the lesions, where one has several predictions; None: each is one.

    Returns:
      NaN where a variance is zero or cannot be had.
    """
    lesions = np.arange(len(labels)) if lesions is None else lesions
    naive = roc.clustered_variance(labels, scores, lesions)
    return roc.clustered_variance(labels, scores, patients) / naive if naive > 1e-12 else math.nan

"""The ROC curve, its area (AUC), and the area's interval when lesions share patients.

Everything rests on placement values (DeLong, DeLong and Clarke-Pearson, Biometrics 1988): of a
positive, the share of negatives scored below it; of a negative, the share of positives scored
above it; ties count one half. Sorting gives them in O(n log n).
"""

import math

import numpy as np
from scipy import optimize, stats

from dtc_jax.statistics.estimate import Z_95, Estimate


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; ties count one half. NaN where a class is absent.

    Args:
      labels: [N] 0 or 1.
      scores: [N] finite, higher for the positive class.
    """
    positive, _ = _placements(*_checked(labels, scores))
    return float(positive.mean()) if positive.size else math.nan


def curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve's points, one a distinct score, from (0, 0) to (1, 1).

    Returns:
      False positive rate, true positive rate and threshold (`score >= threshold` is positive), each
      [K+1]; the first threshold is +inf. A rate of an absent class is NaN.
    """
    labels, scores = _checked(labels, scores)
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last = np.flatnonzero(np.append(np.diff(descending) != 0, True))  # of each run of equal scores
    true = np.append(0, np.cumsum(labels[order])[last])
    false = np.append(0, last + 1) - true
    with np.errstate(invalid="ignore"):
        return false / false[-1], true / true[-1], np.append(np.inf, descending[last])


def delong_variance(labels: np.ndarray, scores: np.ndarray) -> float:
    """Variance of the AUC of independent lesions (DeLong 1988). NaN below two of each class."""
    return clustered_variance(labels, scores, np.arange(len(labels)))


def clustered_variance(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> float:
    """Variance of the AUC when lesions share patients (Obuchowski, Biometrics 1997, section 3).

    It equals DeLong's where no patient repeats.

    Args:
      labels: [N] 0 or 1.
      scores: [N].
      patients: [N] patient ids.

    Returns:
      The variance; NaN where fewer than two patients have a positive or a negative lesion.
    """
    return float(clustered_covariance(labels, np.asarray(scores)[None], patients)[0, 0])


def clustered_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """Covariance of the AUCs of K models on the same lesions (Obuchowski 1997, section 3).

    Args:
      labels: [N] 0 or 1.
      scores: [K, N].
      patients: [N] patient ids; all different, it is DeLong's covariance.

    Returns:
      [K, K]; NaN where fewer than two patients have a positive or a negative lesion.
    """
    patient, count = _codes(patients)
    labels = np.asarray(labels)
    positives, negatives = (_patients_with(labels, patient, value) for value in (1, 0))
    if min(positives, negatives) < 2:
        return np.full((len(scores), len(scores)), math.nan)
    both = [deviations(labels, row, patient, count) for row in scores]
    d10, d01 = (np.stack(rows) for rows in zip(*both, strict=True))  # [K, patients]
    s10 = positives / (positives - 1) * d10 @ d10.T
    s01 = negatives / (negatives - 1) * d01 @ d01.T
    s11 = count / (count - 1) * d10 @ d01.T
    return s10 + s01 + s11 + s11.T


def deviations(
    labels: np.ndarray, scores: np.ndarray, patient: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """What each patient's positives and negatives move the AUC by; each set sums to zero.

    Args:
      labels: [N] 0 or 1.
      scores: [N].
      patient: [N] numbers of the patients, below `count`.
      count: of patients.

    Returns:
      Of the positives and of the negatives, each [count].
    """
    labels, scores = _checked(labels, scores)
    v10, v01 = _placements(labels, scores)
    d10 = np.bincount(patient[labels == 1], weights=v10 - v10.mean(), minlength=count)
    d01 = np.bincount(patient[labels == 0], weights=v01 - v01.mean(), minlength=count)
    return d10 / len(v10), d01 / len(v01)


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None
) -> Estimate:
    """The AUC with its 95 % interval.

    The interval is symmetric on the logit scale. Where patients repeat, its variance is that of
    Obuchowski and its quantile that of t with min(patients with a positive, patients with a
    negative) - 1 degrees of freedom: the normal quantile covers too little at a few dozen patients.
    Where that variance is zero or cannot be had (AUC of 1, a single positive), it is the score
    interval of Newcombe (Statistics in Medicine 2006, method 5), with patients for units.
    """
    labels, scores = _checked(labels, scores)
    area = auc(labels, scores)
    patient, count = _codes(np.arange(len(labels)) if patients is None else patients)
    known = None if patients is None else count
    if math.isnan(area):
        return Estimate(math.nan, math.nan, math.nan, len(labels), known, "none: one class only")
    smaller = min(units := tuple(_patients_with(labels, patient, value) for value in (1, 0)))
    variance = clustered_variance(labels, scores, patient)
    if not variance > 1e-12 or not 0 < area < 1:
        low, high = _newcombe(area, *units)
        return Estimate(area, low, high, len(labels), known, "newcombe")
    if count < len(labels):
        quantile, name = stats.t.ppf(0.975, smaller - 1), f"obuchowski, logit, t({smaller - 1})"
    else:
        quantile, name = Z_95, "delong, logit"
    center, half = math.log(area / (1 - area)), quantile * math.sqrt(variance) / (area * (1 - area))
    low, high = (1 / (1 + np.exp(-np.clip(center + side * half, -700, 700))) for side in (-1, 1))
    return Estimate(area, float(low), float(high), len(labels), known, name)


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must both be [N].")
    if not ((labels == 0) | (labels == 1)).all() or not np.isfinite(scores).all():
        raise ValueError("labels must be 0 or 1 and scores finite.")
    return labels.astype(np.int64), scores


def _placements(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Placement values of the positives [P] and of the negatives [M]; both empty if a class is."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not positive.size or not negative.size:
        return np.empty(0), np.empty(0)
    below, above = (
        (np.searchsorted(other, own) + np.searchsorted(other, own, side="right")) / (2 * other.size)
        for own, other in ((positive, np.sort(negative)), (negative, np.sort(positive)))
    )
    return below, 1 - above


def _codes(patients: np.ndarray) -> tuple[np.ndarray, int]:
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    return codes, len(names)


def _patients_with(labels: np.ndarray, patient: np.ndarray, value: int) -> int:
    return len(np.unique(patient[labels == value]))


def _newcombe(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Score interval of the AUC, which has width even at 0 and 1 and with one unit a class."""
    mean = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        factor = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        variance = theta * (1 - theta) * factor / (positives * negatives)
        return (theta - area) ** 2 - Z_95**2 * variance

    off = 1e-9  # `excess` is also zero at 0 and at 1, where no bound lies
    low = optimize.brentq(excess, off, min(area, 1 - off)) if area > 0 else 0.0
    high = optimize.brentq(excess, max(area, off), 1 - off) if area < 1 else 1.0
    return float(low), float(high)

"""The ROC curve, its area (AUC), and the area's interval when lesions share patients.

Everything is based on placement values (DeLong, DeLong and Clarke-Pearson, Biometrics 1988): of a
positive, the share of negatives scored below it; of a negative, the share of positives scored
above it; ties count one half. Sorting gives them in O(n log n).
"""

import math

import numpy as np
from scipy import optimize, stats

from dtc_jax.statistics.estimate import Z_95, Estimate

NO_VARIANCE = 1e-12  # of an AUC: up to here it is rounding


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; ties count one half. NaN if a class is absent.

    Args:
      labels: [N] 0 or 1.
      scores: [N] finite, higher for the positive class; or [K, N] of K networks, whose areas are
        averaged.
    """
    each = [_placements(*_checked(labels, row))[0] for row in np.atleast_2d(scores)]
    return float(np.mean([row.mean() for row in each])) if each[0].size else math.nan


def curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points of the ROC curve, one per distinct score, from (0, 0) to (1, 1).

    Args:
      labels: [N] 0 or 1.
      scores: [N], higher for 1.

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
    """Variance of the AUC of independent lesions (DeLong 1988); NaN below two of each class.

    Args:
      labels: [N] 0 or 1.
      scores: [N], higher for 1.
    """
    return clustered_variance(labels, scores, np.arange(len(labels)))


def clustered_variance(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> float:
    """Variance of the AUC when lesions share patients (Obuchowski, Biometrics 1997, section 3).

    It equals DeLong's if no patient repeats.

    Args:
      labels: [N] 0 or 1.
      scores: [N].
      patients: [N] patient ids.

    Returns:
      The variance; NaN if fewer than two patients have a positive or a negative lesion.
    """
    return float(clustered_covariance(labels, np.asarray(scores)[None], patients)[0, 0])


def clustered_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """Covariance of the AUCs of K models on the same lesions (Obuchowski 1997, section 3).

    Args:
      labels: [N] 0 or 1.
      scores: [K, N]; or [K, S, N], where a model is S networks whose AUCs are averaged.
      patients: [N] patient ids; if all differ, the result is DeLong's covariance.

    Returns:
      [K, K]; NaN if fewer than two patients have a positive or a negative lesion.
    """
    patient, count = codes(patients)
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
    """Contribution of each patient's positives and negatives to the AUC; each set sums to zero.

    Args:
      labels: [N] 0 or 1.
      scores: [N]; or [K, N] of K networks, whose contributions are averaged.
      patient: [N] patient numbers below `count`.
      count: number of patients.

    Returns:
      Of the positives and of the negatives, each [count].
    """
    if np.ndim(scores) > 1:
        each = [deviations(labels, row, patient, count) for row in scores]
        d10, d01 = (np.mean(rows, axis=0) for rows in zip(*each, strict=True))
        return d10, d01
    labels, scores = _checked(labels, scores)
    v10, v01 = _placements(labels, scores)
    d10 = np.bincount(patient[labels == 1], weights=v10 - v10.mean(), minlength=count)
    d01 = np.bincount(patient[labels == 0], weights=v01 - v01.mean(), minlength=count)
    return d10 / len(v10), d01 / len(v01)


def small_sample(
    labels: np.ndarray, patient: np.ndarray, d10: np.ndarray, d01: np.ndarray
) -> tuple[float, float]:
    """The clustered variance for an interval, and the degrees of freedom of its t quantile.

    Obuchowski's factor I / (I - 1) assumes equally many lesions per patient. Here each patient has
    the factor 1 / (1 - w), where w is its share of the lesions (Bell and McCaffrey, Survey
    Methodology 2002); both agree if all shares are equal. The variance is never less than
    Obuchowski's: if patients with few lesions have the deviations, it would be, even below zero.

    The degrees of freedom are Satterthwaite's over the classes. Each class contributes its
    effective number of patients, (sum n)^2 / sum n^2 for n lesions per patient (Kish 1965), minus
    one: if a few patients have most of the lesions, the number is small.

    Args:
      labels: [N] 0 or 1; at least two patients have a lesion of each class.
      patient: [N] patient numbers.
      d10: [patients] deviations of their positives, see `deviations`.
      d01: [patients] deviations of their negatives.
    """
    total, plain, uncertainty = 0.0, 0.0, 0.0
    for value, moved in ((1, d10), (0, d01)):
        share = np.bincount(patient[labels == value], minlength=len(moved)) / np.sum(
            labels == value
        )
        variance = np.sum(moved**2 / (1 - share))
        owners = np.count_nonzero(share)
        total += variance
        plain += owners / (owners - 1) * np.sum(moved**2)
        uncertainty += variance**2 / max(1 / np.sum(share**2) - 1, 1.0)
    degrees = total**2 / uncertainty if uncertainty > 0 else math.inf
    both = 2 * len(d10) / (len(d10) - 1) * np.sum(d10 * d01)
    return float(max(total, plain) + both), float(degrees)


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None
) -> Estimate:
    """The AUC with its 95 % interval.

    The interval is symmetric on the logit scale. If patients repeat, variance (Obuchowski's) and
    quantile (of t) are those of `small_sample`: with a few dozen patients, the coverage of the
    normal quantile is too low. If that variance is zero or undefined (AUC of 1, a single positive),
    the interval is the score interval of Newcombe (Statistics in Medicine 2006, method 5) with
    patients as units.

    Args:
      labels: [N] 0 or 1.
      scores: [N]; or [K, N] of K networks. Their AUCs are averaged, and the interval is that of the
        mean over other patients, for these networks.
      patients: [N] patient ids, or None if lesions are independent.
    """
    labels = np.asarray(labels)
    area = auc(labels, scores)
    patient, count = codes(np.arange(len(labels)) if patients is None else patients)
    patient_count = None if patients is None else count
    if math.isnan(area):
        return Estimate(
            math.nan, math.nan, math.nan, len(labels), patient_count, "none: one class only"
        )
    units = [_patients_with(labels, patient, value) for value in (1, 0)]
    variance, quantile, name = math.nan, Z_95, "delong, logit"
    if min(units) > 1 and count == len(labels):
        variance = clustered_variance(labels, scores, patient)
    elif min(units) > 1:
        moved = deviations(labels, scores, patient, count)
        variance, degrees = small_sample(labels, patient, *moved)
        quantile, name = stats.t.ppf(0.975, degrees), f"obuchowski, logit, t({degrees:.1f})"
    if not variance > NO_VARIANCE or not 0 < area < 1:
        low, high = _newcombe(area, *units)
        return Estimate(area, low, high, len(labels), patient_count, "newcombe")
    center, half = math.log(area / (1 - area)), quantile * math.sqrt(variance) / (area * (1 - area))
    low, high = (1 / (1 + np.exp(-np.clip(center + side * half, -700, 700))) for side in (-1, 1))
    return Estimate(area, float(low), float(high), len(labels), patient_count, name)


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must both be [N].")
    if not ((labels == 0) | (labels == 1)).all() or not np.isfinite(scores).all():
        raise ValueError("labels must be 0 or 1 and scores finite.")
    return labels.astype(np.int64), scores


def _placements(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Placement values of the positives [P] and the negatives [M]; empty if a class is absent."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not positive.size or not negative.size:
        return np.empty(0), np.empty(0)
    below, above = (
        (np.searchsorted(other, same) + np.searchsorted(other, same, side="right"))
        / (2 * other.size)
        for same, other in ((positive, np.sort(negative)), (negative, np.sort(positive)))
    )
    return below, 1 - above


def codes(patients: np.ndarray) -> tuple[np.ndarray, int]:
    """Patient numbers from 0, [N], and the number of patients."""
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    return codes, len(names)


def _patients_with(labels: np.ndarray, patient: np.ndarray, value: int) -> int:
    return len(np.unique(patient[labels == value]))


def _newcombe(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Score interval of the AUC; its width is positive even at 0 and 1 and with one unit each."""
    mean = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        factor = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        variance = theta * (1 - theta) * factor / (positives * negatives)
        return (theta - area) ** 2 - Z_95**2 * variance

    margin = 1e-9  # `excess` is also zero at 0 and 1, which are not the bounds
    low = optimize.brentq(excess, margin, min(area, 1 - margin)) if area > 0 else 0.0
    high = optimize.brentq(excess, max(area, margin), 1 - margin) if area < 1 else 1.0
    return float(low), float(high)

"""Calibration of the scores, and recalibration.

Scores enter as log odds, clipped to probabilities from 1e-6 to 1 - 1e-6. Slope and intercept are
those of Cox (Biometrika 1958): the slope of the log odds of the labels on those of the scores,
ideal 1; and the intercept with that slope fixed at 1 ("calibration in the large"), ideal 0.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special, stats
from sklearn import isotonic

from dtc_jax.statistics import bootstrap, rates
from dtc_jax.statistics.estimate import UNIT, Estimate, mean, plain, plain_list

Map = Callable[[np.ndarray], np.ndarray]
METHODS = ("platt", "temperature", "isotonic")
PREVALENCES = np.arange(1, 20) / 20
_BINS = 10
_STEPS, _HALVINGS, _CLOSE = 200, 40, 1e-10  # of Newton's method


def log_odds(scores: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, which are first clipped to [1e-6, 1 - 1e-6]."""
    return special.logit(np.clip(np.asarray(scores, dtype=np.float64), 1e-6, 1 - 1e-6))


def slope(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """The calibration slope with a cluster-robust t interval.

    Args:
      labels: [N] 0 or 1.
      scores: [N] probabilities of 1.
      patients: [N] patient ids.
    """
    x = log_odds(scores)
    return _coefficient(labels, np.column_stack([x, np.ones_like(x)]), np.zeros_like(x), patients)


def intercept(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Calibration in the large with a cluster-robust t interval; arguments as for `slope`."""
    x = log_odds(scores)
    return _coefficient(labels, np.ones((len(x), 1)), x, patients)


def brier(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Mean squared error of the probabilities; arguments as for `slope`."""
    return mean((np.asarray(scores) - np.asarray(labels)) ** 2, patients, UNIT)


def reliability(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> list[dict[str, Any]]:
    """Mean score and observed share of positives in ten bins of about equally many lesions.

    Equal scores share a bin, so there may be fewer bins. Arguments as for `slope`.

    Returns:
      A list of {low, high, score, observed}: the lowest, highest and mean score of the bin, and
      the observed share as the JSON values of an Estimate.
    """
    labels, scores, patients = np.asarray(labels), np.asarray(scores), np.asarray(patients)
    edges = np.unique(np.quantile(scores, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    index = np.searchsorted(edges, scores, side="left")
    return [
        {
            "low": float(scores[rows].min()),
            "high": float(scores[rows].max()),
            "score": float(scores[rows].mean()),
            "observed": rates.proportion(labels[rows] == 1, patients[rows]).as_dict(),
        }
        for rows in (index == i for i in np.unique(index))
    ]


def ece(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> float:
    """Expected calibration error over the bins of `reliability`; arguments as for `slope`."""
    bins = reliability(labels, scores, patients)
    gaps = [b["observed"]["n"] * abs(b["observed"]["value"] - b["score"]) for b in bins]
    return float(sum(gaps) / len(np.asarray(labels)))


def fit(method: str, labels: np.ndarray, scores: np.ndarray) -> Map:
    """A map from scores to recalibrated scores.

    Args:
      method: 'platt': slope and intercept of the log odds, fitted to smoothed targets, which also
        handle separated classes (Platt 1999); 'temperature': only the slope (Guo, ICML 2017),
        fitted to the same targets; 'isotonic': a monotone step function (Zadrozny and Elkan, KDD
        2002). A constant score tells nothing of a slope, which then stays 1.
      labels: [N] 0 or 1, of both classes.
      scores: [N] probabilities of 1.
    """
    labels = np.asarray(labels)
    if method == "isotonic":
        model = isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        return model.fit(np.asarray(scores), labels).predict
    x, targets = log_odds(scores), smoothed(labels)
    ones, slope_of, shift = np.ones_like(x), 1.0, 0.0
    if method == "platt" and is_constant(x):
        (shift,), _ = _logistic(ones[:, None], targets, x)
    elif method == "platt":
        (slope_of, shift), _ = _logistic(np.column_stack([x, ones]), targets, np.zeros_like(x))
    elif not is_constant(x):
        (slope_of,), _ = _logistic(x[:, None], targets, np.zeros_like(x))
    return lambda new: special.expit(slope_of * log_odds(new) + shift)


def smoothed(labels: np.ndarray) -> np.ndarray:
    """Targets a little inside 0 and 1, which also handle separated classes (Platt 1999). # [N]

    Args:
      labels: [N] 0 or 1.
    """
    labels = np.asarray(labels)
    positives = int(np.sum(labels == 1))
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    return np.where(labels == 1, high, low)


def summary(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """Slope, intercept, Brier score and ECE as JSON values; arguments as for `slope`."""
    return {
        "slope": slope(labels, scores, patients).as_dict(),
        "intercept": intercept(labels, scores, patients).as_dict(),
        "brier": brier(labels, scores, patients).as_dict(),
        "ece": plain(ece(labels, scores, patients)),
    }


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """PPV and NPV at a prevalence by Bayes' rule; NaN if no decision is of that kind.

    Args:
      sensitivity: of a classifier, [...].
      specificity: of the same, [...].
      prevalence: share of positives where it is used, [...].
    """
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore"):
        return (
            true_positive / (true_positive + false_positive),
            true_negative / (true_negative + false_negative),
        )


def by_prevalence(
    labels: np.ndarray, decisions: np.ndarray, patients: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    """PPV and NPV by prevalence at the sensitivity and specificity of the decisions, with bands.

    Args:
      labels: [N] 0 or 1, of both classes.
      decisions: [N] 0 or 1.
      patients: [N] patient ids.
      resamples: of the patient bootstrap.
      seed: of the bootstrap.
    """
    labels, decisions = np.asarray(labels) == 1, np.asarray(decisions) == 1
    counts = np.stack([labels & decisions, labels, ~labels & ~decisions, ~labels], axis=1)
    drawn = bootstrap.sums(counts, labels.astype(int), patients, resamples, seed)

    def values(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return predictive_values(
            sums[:, [0]] / sums[:, [1]], sums[:, [2]] / sums[:, [3]], PREVALENCES
        )

    result: dict[str, Any] = {"prevalence": PREVALENCES.tolist()}
    pairs = zip(
        ("ppv", "npv"), values(counts.sum(axis=0, keepdims=True)), values(drawn), strict=True
    )
    for name, value, samples in pairs:
        low, high = bootstrap.band(samples)
        ends = {"value": value[0], "low": low, "high": high}
        result[name] = {key: plain_list(end) for key, end in ends.items()}
    return result


def _coefficient(
    labels: np.ndarray, design: np.ndarray, offset: np.ndarray, patients: np.ndarray
) -> Estimate:
    """The first coefficient of a logistic regression with its cluster-robust interval."""
    labels = np.asarray(labels, dtype=np.float64)
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    n, count = len(labels), len(names)
    if len(np.unique(labels)) < 2 or (design.shape[1] == 2 and is_constant(design[:, 0])):
        return Estimate(math.nan, math.nan, math.nan, n, count, "none: one class or one score")
    if design.shape[1] == 2 and are_separated(design[labels == 0, 0], design[labels == 1, 0]):
        return Estimate(math.nan, math.nan, math.nan, n, count, "none: the classes are separated")
    beta, bread = _logistic(design, labels, offset)
    if count < 2:
        return Estimate(float(beta[0]), math.nan, math.nan, n, count, "none: one patient")
    residual = labels - special.expit(design @ beta + offset)
    contributions = np.zeros((count, design.shape[1]))
    np.add.at(contributions, patient, design * residual[:, None])
    covariance = count / (count - 1) * bread @ contributions.T @ contributions @ bread
    half = stats.t.ppf(0.975, count - 1) * math.sqrt(covariance[0, 0])
    name = f"t({count - 1}), clustered by patient"
    return Estimate(float(beta[0]), float(beta[0] - half), float(beta[0] + half), n, count, name)


def is_constant(x: np.ndarray) -> bool:
    """Whether log odds differ by no more than rounding, so that no slope can be fitted to them."""
    return bool(np.ptp(x) <= 1e-6 * max(1.0, np.abs(x).max()))


def are_separated(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether some value lies between two classes, so that no slope is steep enough.

    Args:
      first: scores of a class, [N].
      second: of the other, [M].
    """
    return bool(first.max() <= second.min() or second.max() <= first.min())


def _logistic(
    design: np.ndarray, targets: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unpenalized logistic regression by Newton's method: coefficients and inverse information.

    Args:
      design: [N, K]; its scale is of no account, as scores may lie close together.
      targets: [N] in [0, 1].
      offset: [N] of the log odds.
    """
    scale = np.sqrt((design**2).mean(axis=0))
    x = design / scale

    def loss(beta: np.ndarray) -> float:
        logit = x @ beta + offset
        return float((np.logaddexp(0, logit) - targets * logit).sum())

    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = special.expit(x @ beta + offset)
        information = x.T @ (x * (p * (1 - p) + 1e-12)[:, None])
        step = np.linalg.solve(information, x.T @ (targets - p))
        # Far from the optimum a full step overshoots.
        sizes = (0.5**i for i in range(_HALVINGS))
        size = next((s for s in sizes if loss(beta + s * step) <= loss(beta)), 0.0)
        beta = beta + size * step
        if np.abs(size * step).max() < _CLOSE * (1 + np.abs(beta).max()):
            break
    return beta / scale, np.linalg.inv(information) / np.outer(scale, scale)

"""Decision curves (Vickers and Elkin, Medical Decision Making 2006) of withholding I-131.

The threshold probability is the risk of being RAI-refractory at which a physician would withhold
I-131; its odds weigh the harm of withholding from an avid lesion against the benefit of sparing a
refractory one. Net benefit is TP / n - FP / n * odds. Bands are pointwise, of the patient
bootstrap.
"""

from typing import Any

import numpy as np

from dtc_jax.statistics import bootstrap
from dtc_jax.statistics.estimate import plain_list

THRESHOLDS = np.arange(1, 100) / 100


def net_benefit(
    labels: np.ndarray, scores: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> dict[str, np.ndarray]:
    """Net benefit of the model, of withholding from all and from none.

    Args:
      labels: [N] 0 or 1.
      scores: [N] probabilities of 1; at or above the threshold, I-131 is withheld.
      thresholds: [T] threshold probabilities below 1.

    Returns:
      {'model', 'all', 'none', 'gain'}, each [T]; gain is over the better of all and none.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    counts = [len(group) - np.searchsorted(group, thresholds) for group in (positive, negative)]
    sums = np.concatenate([*counts, [len(positive), len(negative)]]).astype(float)
    return {name: curve[0] for name, curve in _benefits(sums[None], thresholds).items()}


def decision_curve(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    """The curves with their bands, as plain values: DECISION_CURVE of `study`.

    Args:
      labels: [N] 0 or 1.
      scores: [N] probabilities of 1.
      patients: [N] patient ids.
      resamples: of the patient bootstrap.
      seed: of the bootstrap.
    """
    counts = _counts(np.asarray(labels), np.asarray(scores), THRESHOLDS)
    samples = _benefits(bootstrap.sums(counts, labels, patients, resamples, seed), THRESHOLDS)
    result: dict[str, Any] = {"threshold": THRESHOLDS.tolist()}
    for name, value in net_benefit(labels, scores).items():
        low, high = bootstrap.band(samples[name])
        ends = {"value": value, "low": low, "high": high}
        result[name] = {key: plain_list(end) for key, end in ends.items()}
    return result


def _counts(labels: np.ndarray, scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Is a lesion a true or a false positive at each threshold? And its label: [N, 2 T + 2]."""
    withheld = scores[:, None] >= thresholds  # [N, T]
    positive = labels[:, None] == 1
    return np.hstack([withheld & positive, withheld & ~positive, positive, ~positive])


def _benefits(counts: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Net benefits [B, T] of the sums [B, 2 T + 2] of `_counts`."""
    t = len(thresholds)
    odds = thresholds / (1 - thresholds)
    shares = counts / counts[:, 2 * t :].sum(axis=1, keepdims=True)
    model = shares[:, :t] - shares[:, t : 2 * t] * odds
    everyone = shares[:, [2 * t]] - shares[:, [2 * t + 1]] * odds
    none = np.zeros_like(model)
    return {
        "model": model,
        "all": everyone,
        "none": none,
        "gain": model - np.maximum(everyone, none),
    }

"""Lesions that are too uncertain to decide on I-131 from CT.

`risk_coverage` leaves the least certain lesions undecided. `Conformal` decides only if exactly one
label is compatible with the score, at an error rate that is set in advance.
"""

import dataclasses
from typing import Any

import numpy as np

from dtc_jax.statistics import bootstrap, calibration, rates
from dtc_jax.statistics.estimate import plain, plain_list

COVERAGES = np.arange(1, 21) / 20
ALPHAS = (0.05, 0.1, 0.2)


def risk_coverage(
    labels: np.ndarray,
    scores: np.ndarray,
    thresholds: np.ndarray,
    patients: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Error among the most certain share of the lesions (Geifman and El-Yaniv, NeurIPS 2017).

    Certainty is the distance of the score's log odds from the threshold's.

    Args:
      labels: [N] 0 or 1.
      scores: [N] probabilities of 1. Of those that are equally certain, each is decided in part, so
        that the order of the lesions makes no difference.
      thresholds: [N]; a score at or above is a positive decision.
      patients: [N] patient ids.
      resamples: of the patient bootstrap; the set of decided lesions is fixed.
      seed: of the bootstrap.

    Returns:
      JSON values: {risk_coverage: {coverage, error: {value, low, high}, sensitivity,
      specificity}, aurc}; aurc is the mean error over all coverages (area under the curve).
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    certainty = np.abs(calibration.log_odds(scores) - calibration.log_odds(thresholds))
    wrong = (scores >= thresholds) != (labels == 1)
    wanted = np.maximum(1, np.round(COVERAGES * len(labels)))
    kept = _kept(certainty, wanted)

    def share(hits: np.ndarray, among: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (kept * (hits & among)[:, None]).sum(0) / (kept * among[:, None]).sum(0)

    counts = np.hstack([kept * wrong[:, None], kept])
    drawn = bootstrap.sums(counts, labels, patients, resamples, seed)
    with np.errstate(invalid="ignore"):
        samples = drawn[:, : len(COVERAGES)] / drawn[:, len(COVERAGES) :]
    low, high = bootstrap.band(samples)
    error = {"value": share(wrong, np.ones_like(wrong)), "low": low, "high": high}
    return {
        "risk_coverage": {
            "coverage": COVERAGES.tolist(),
            "error": {name: plain_list(values) for name, values in error.items()},
            "sensitivity": plain_list(share(~wrong, labels == 1)),
            "specificity": plain_list(share(~wrong, labels == 0)),
        },
        "aurc": plain(_mean_over_coverages(certainty, wrong)),
    }


def _kept(certainty: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The part of each lesion among so many of the most certain ones. # [N], [K] -> [N, K]"""
    _, level, size = np.unique(-certainty, return_inverse=True, return_counts=True)
    before = np.cumsum(size) - size
    return np.clip((wanted - before[level, None]) / size[level, None], 0, 1)


def _mean_over_coverages(certainty: np.ndarray, wrong: np.ndarray) -> float:
    """The error among the n most certain lesions, its mean over n = 1 to N."""
    _, level, size = np.unique(-certainty, return_inverse=True, return_counts=True)
    shares = np.repeat(np.bincount(level, wrong) / size, size)  # most certain lesions first
    return float((np.cumsum(shares) / np.arange(1, len(wrong) + 1)).mean())


@dataclasses.dataclass(frozen=True)
class Conformal:
    """Split-conformal prediction for each label separately, calibrated on whole patients.

    Patients are exchangeable, their lesions are not: each calibration patient has the weight one,
    divided among its lesions, and so has the new patient (hierarchical conformal prediction: Lee,
    Barber and Willett 2023). For a lesion with either label of a new patient from the population of
    the calibration patients, its set contains the label with probability 1 - alpha.

    Attributes:
      nonconformity: of label 0 and of label 1, each [n] sorted: 1 - the probability of the label.
      weight: cumulative weights, each [n]; they end below 1 by the share of the new patient.
      lesions: number of calibration lesions.
      patients: number of calibration patients.
    """

    nonconformity: tuple[np.ndarray, np.ndarray]
    weight: tuple[np.ndarray, np.ndarray]
    lesions: int
    patients: int

    @classmethod
    def fit(cls, labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> "Conformal":
        """Calibrates on lesions that were not used for training.

        Args:
          labels: [N] 0 or 1.
          scores: [N] probabilities of 1.
          patients: [N] patient ids.
        """
        labels, patients = np.asarray(labels), np.asarray(patients)
        values, weights = [], []
        for label in (0, 1):
            rows = labels == label
            value = _nonconformity(np.asarray(scores)[rows], label)
            _, patient, size = np.unique(patients[rows], return_inverse=True, return_counts=True)
            order = np.argsort(value, kind="stable")
            values.append(value[order])
            weights.append(np.cumsum((1 / size[patient] / (len(size) + 1))[order]))
        pairs = tuple(values), tuple(weights)
        return cls(*pairs, len(labels), len(np.unique(patients)))  # type: ignore[arg-type]

    def sets(self, scores: np.ndarray, alpha: float) -> np.ndarray:
        """Whether the set of each lesion contains each label at error rate `alpha`.

        Args:
          scores: [N] probabilities of 1.
          alpha: between 0 and 1.

        Returns:
          [N, 2] bool, of label 0 and 1.
        """
        columns = []
        for label in (0, 1):
            reached = np.flatnonzero(self.weight[label] >= 1 - alpha - 1e-12)
            limit = self.nonconformity[label][reached[0]] if len(reached) else np.inf
            columns.append(_nonconformity(np.asarray(scores), label) <= limit)
        return np.stack(columns, axis=1)


def triage(
    labels: np.ndarray,
    sets: np.ndarray,
    patients: np.ndarray,
    alpha: float,
    fitted: list[Conformal],
) -> dict[str, Any]:
    """The decisions of the sets and how often they are right: CONFORMAL of `study`.

    Args:
      labels: [N] 0 or 1.
      sets: [N, 2] of `Conformal.sets`.
      patients: [N] patient ids.
      alpha: of the sets.
      fitted: the predictors of the sets, one per fold.
    """
    labels, patients = np.asarray(labels), np.asarray(patients)
    avid, refractory = sets.T
    decided = avid != refractory
    covered = sets[np.arange(len(labels)), labels]
    among = {
        "decided": (decided, np.ones_like(decided)),
        "error_of_decided": (~covered, decided),
        "coverage_of_positives": (covered, labels == 1),
        "coverage_of_negatives": (covered, labels == 0),
    }
    return {
        "alpha": alpha,
        "calibration_lesions": sum(conformal.lesions for conformal in fitted),
        "calibration_patients": sum(conformal.patients for conformal in fitted),
        "counts": {
            "avid": int(np.sum(avid & ~refractory)),
            "refractory": int(np.sum(refractory & ~avid)),
            "both": int(np.sum(avid & refractory)),
            "neither": int(np.sum(~avid & ~refractory)),
        },
        **{
            name: rates.proportion(hits[rows], patients[rows]).as_dict()
            for name, (hits, rows) in among.items()
        },
    }


def _nonconformity(scores: np.ndarray, label: int) -> np.ndarray:
    return 1 - scores if label == 1 else scores

"""Accuracy, sensitivity, specificity, PPV, NPV and F1 with intervals clustered by patient."""

import dataclasses
import math

import numpy as np
from scipy import stats

from dtc_jax.statistics.estimate import Z_95, Estimate


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Counts of decisions against labels; the positive class is RAI-refractory."""

    tp: int
    fn: int
    tn: int
    fp: int


def confusion(labels: np.ndarray, decisions: np.ndarray) -> Confusion:
    """Counts `decisions` [N] (0 or 1) against `labels` [N] (0 or 1)."""
    labels, decisions = np.asarray(labels, dtype=bool), np.asarray(decisions, dtype=bool)
    return Confusion(
        tp=int(np.sum(labels & decisions)),
        fn=int(np.sum(labels & ~decisions)),
        tn=int(np.sum(~labels & ~decisions)),
        fp=int(np.sum(~labels & decisions)),
    )


def rates(
    labels: np.ndarray, decisions: np.ndarray, patients: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Accuracy, sensitivity, specificity, PPV, NPV and F1, each with its own n.

    F1 is 2 J / (1 + J), where J is the share of true positives among all lesions with a positive
    label or decision; its interval is that of J, transformed alike.

    Args:
      labels: [N] 0 or 1.
      decisions: [N] 0 or 1.
      patients: [N] patient ids, or None if lesions are independent.
    """
    labels, decisions = np.asarray(labels, dtype=bool), np.asarray(decisions, dtype=bool)
    patients = None if patients is None else np.asarray(patients)
    correct = labels == decisions
    among = {
        "accuracy": np.ones_like(labels),
        "sensitivity": labels,
        "specificity": ~labels,
        "ppv": decisions,
        "npv": ~decisions,
        "f1": labels | decisions,
    }
    estimates = {
        name: proportion(correct[rows], None if patients is None else patients[rows])
        for name, rows in among.items()
    }
    ends = {name: getattr(estimates["f1"], name) for name in ("value", "low", "high")}
    scaled = {name: 2 * j / (1 + j) for name, j in ends.items()}
    return estimates | {"f1": dataclasses.replace(estimates["f1"], **scaled)}


def proportion(hits: np.ndarray, patients: np.ndarray | None = None) -> Estimate:
    """The share of true `hits` [N] with its 95 % Wilson interval.

    A hit may be a share itself, that of K networks which decided rightly: then the interval is that
    of their mean over other patients.

    If patients repeat, n is replaced by the effective n of the between-patient variance, with a t
    quantile for its degrees of freedom (Korn and Graubard, Survey Methodology 1998). As for the AUC
    (`roc.small_sample`), variance and degrees account for unequal numbers of lesions per patient.
    At a share of 0 or 1 that variance is zero, and each patient counts once.

    Args:
      hits: True, False or a share, of each lesion.
      patients: [N], whose it is; None: each is of another one.
    """
    hits = np.asarray(hits, dtype=np.float64)
    n = len(hits)
    names, patient = np.unique(
        np.arange(n) if patients is None else np.asarray(patients), return_inverse=True
    )
    count = len(names)
    patient_count = None if patients is None else count
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, patient_count, "none: nothing to count")
    share = float(hits.mean())
    if count == n:
        return Estimate(share, *wilson(share, n), n, patient_count, "wilson")
    effective = float(count)
    if 0 < share < 1 and count > 1:
        deviation = np.bincount(patient, weights=hits - share)  # [patients]
        weight = np.bincount(patient) / n
        variance = np.sum(deviation**2 / (1 - weight)) / n**2
        effective = min(n, share * (1 - share) / variance) if variance > 0 else n
        degrees = max(1 / np.sum(weight**2) - 1, 1.0)
        effective *= (Z_95 / stats.t.ppf(0.975, degrees)) ** 2
    elif count == 1:
        effective = 1.0
    return Estimate(
        share, *wilson(share, effective), n, patient_count, "wilson, clustered by patient"
    )


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % score interval (JASA 1927) of a share among `n`, which may be fractional.

    Args:
      share: from 0 to 1.
      n: how many it is of.
    """
    center = share + Z_95**2 / (2 * n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    return max(0.0, float((center - half) / scale)), min(1.0, float((center + half) / scale))

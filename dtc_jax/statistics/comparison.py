"""Differences of AUC or of a mean: paired, unpaired, adjusted for their number; non-inferiority."""

import dataclasses
import math

import numpy as np
from scipy import stats

from dtc_jax.statistics import roc
from dtc_jax.statistics.estimate import ALIKE, Z_95, Estimate, mean, plain


@dataclasses.dataclass(frozen=True)
class Difference:
    """First AUC, or first mean, minus second.

    Attributes:
      estimate: the difference with its 95 % interval.
      p: two-sided, of no difference.
      standard_error: of the difference.
      degrees: degrees of freedom of t; inf: the normal distribution.
    """

    estimate: Estimate
    p: float
    standard_error: float
    degrees: float

    def non_inferiority(self, margin: float) -> dict[str, float | bool | None]:
        """Whether the first AUC is lower than the second by less than `margin` (> 0).

        p is one-sided; `holds` if p < .025, that is, if the 95 % interval lies above -margin.
        """
        p = math.nan
        if self.standard_error > 0:
            p = float(
                stats.t.sf((self.estimate.value + margin) / self.standard_error, self.degrees)
            )
        elif self.standard_error == 0:
            p = 0.0 if self.estimate.value > -margin else 1.0
        holds = None if math.isnan(p) else bool(p < 0.025)
        return {"margin": margin, "p": plain(p), "holds": holds}


def paired(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: np.ndarray | None = None,
) -> Difference:
    """Two models on the same lesions (DeLong 1988; with patients, Obuchowski 1997).

    If patients repeat, variance and degrees of freedom are those of `roc.small_sample`.

    Args:
      labels: [N] 0 or 1.
      first: [N] scores of the first model; or [K, N] of K networks, whose AUCs are averaged.
      second: of the second model, of the same shape.
      patients: [N] patient ids, or None if lesions are independent.
    """
    labels = np.asarray(labels)
    patient, count = roc.codes(np.arange(len(labels)) if patients is None else patients)
    value = roc.auc(labels, first) - roc.auc(labels, second)
    covariance = roc.clustered_covariance(labels, np.stack([first, second]), patient)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    patient_count = None if patients is None else count
    if not variance > roc.NO_VARIANCE and not math.isnan(variance):
        same = np.array_equal(*(stats.rankdata(scores, axis=-1) for scores in (first, second)))
        return _without_variance(value, same, len(labels), patient_count)
    if count == len(labels) or math.isnan(variance):
        return _difference(value, variance, math.inf, len(labels), patient_count, "delong, paired")
    both = (roc.deviations(labels, scores, patient, count) for scores in (first, second))
    deviations = [a - b for a, b in zip(*both, strict=True)]
    variance, degrees = roc.small_sample(labels, patient, *deviations)
    name = f"obuchowski, paired, t({degrees:.1f})"
    return _difference(value, variance, degrees, len(labels), patient_count, name)


def paired_means(first: np.ndarray, second: np.ndarray, patients: np.ndarray) -> Difference:
    """Values of two models on the same cases, such as Dice: the difference of their means.

    Variance and degrees of freedom are those of `estimate.mean`, between patients.

    Args:
      first: [N] values of the first model.
      second: [N] values of the second model.
      patients: [N] patient ids.
    """
    apart = np.asarray(first) - np.asarray(second)
    found = mean(apart, patients)
    if found.interval == ALIKE:
        return _without_variance(found.value, not apart.any(), found.n, found.patients)
    degrees = (found.patients or 0) - 1
    half = found.high - found.value
    variance = (half / stats.t.ppf(0.975, degrees)) ** 2 if degrees > 0 else math.nan
    name = f"paired, t({degrees}), clustered by patient"
    return _difference(found.value, variance, degrees, found.n, found.patients, name)


def unpaired(
    first: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    second: tuple[np.ndarray, np.ndarray, np.ndarray | None],
) -> Difference:
    """Two cohorts without common patients, each (labels [N], scores [N], patients [N] or None).

    The quantile is normal, or Welch and Satterthwaite's t if patients repeat. If the variance of
    one of them is zero (AUC of 1) or undefined, the interval is made of those of both AUCs (square
    and add: Newcombe, Statistics in Medicine 1998), and there is no test: few lesions that are
    ordered without an error do not say that the AUC is known.
    """
    areas, variances, degrees, lesions, counts = [], [], [], 0, []
    for labels, scores, patients in (first, second):
        labels = np.asarray(labels)
        patient, count = roc.codes(np.arange(len(labels)) if patients is None else patients)
        areas.append(roc.auc(labels, scores))
        variances.append(roc.clustered_variance(labels, scores, patient))
        degrees.append(math.inf)
        if count < len(labels) and variances[-1] > 0:
            deviations = roc.deviations(labels, scores, patient, count)
            variances[-1], degrees[-1] = roc.small_sample(labels, patient, *deviations)
        lesions += len(labels)
        counts.append(None if patients is None else count)
    patient_count = None if None in counts else sum(filter(None, counts))
    if not all(variance > roc.NO_VARIANCE for variance in variances):
        alone = [roc.auc_interval(*cohort) for cohort in (first, second)]
        return _squared_and_added(alone[0], alone[1], lesions, patient_count)
    total = sum(variances)
    if min(degrees) == math.inf:
        return _difference(
            areas[0] - areas[1], total, math.inf, lesions, patient_count, "delong, unpaired"
        )
    welch = total**2 / sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    name = f"obuchowski, unpaired, t({welch:.1f})"
    return _difference(areas[0] - areas[1], total, welch, lesions, patient_count, name)


def _squared_and_added(
    first: Estimate, second: Estimate, n: int, patients: int | None
) -> Difference:
    """The difference of two independent estimates from their intervals; without P."""
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    name = "newcombe, square and add" if math.isfinite(low + high) else "none: one class only"
    return Difference(Estimate(value, low, high, n, patients, name), math.nan, math.nan, math.inf)


def holm(p: np.ndarray) -> np.ndarray:
    """P values [K] adjusted for their number (Holm, Scandinavian Journal of Statistics 1979).

    NaN stays NaN and is not counted.
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full_like(p, math.nan)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted


def _difference(
    value: float, variance: float, degrees: float, n: int, patients: int | None, name: str
) -> Difference:
    if math.isnan(variance) or math.isnan(value):
        none = Estimate(value, math.nan, math.nan, n, patients, "none: too few patients of a class")
        return Difference(none, math.nan, math.nan, degrees)
    error = math.sqrt(variance)
    quantile = Z_95 if degrees == math.inf else float(stats.t.ppf(0.975, degrees))
    low, high = value - quantile * error, value + quantile * error
    p = 2 * float(stats.t.sf(abs(value) / error, degrees))
    return Difference(
        Estimate(value, max(-1.0, low), min(1.0, high), n, patients, name), p, error, degrees
    )


def _without_variance(value: float, same: bool, n: int, patients: int | None) -> Difference:
    """Of two models that do the `same`; or of two that make no error in so few lesions, or all."""
    end, p, error = (value, 1.0, 0.0) if same else (math.nan,) * 3
    name = "none: the same order of lesions" if same else ALIKE
    return Difference(Estimate(value, end, end, n, patients, name), p, error, math.inf)

"""A number with its 95 % interval, its sample size, and the method of the interval."""

import dataclasses
import math
from typing import Any

import numpy as np
from scipy import stats

Z_95 = 1.959963984540054  # the normal distribution's two-sided 95 % quantile


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate and its 95 % confidence interval; NaN if undefined.

    Attributes:
      value: the point estimate.
      low: lower end of the interval.
      high: upper end of the interval.
      n: number of predictions, one per lesion and fold; of a rate, its denominator.
      patients: number of their patients, or None if unknown.
      interval: the method of the interval.
    """

    value: float
    low: float
    high: float
    n: int
    patients: int | None = None
    interval: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values: None instead of NaN."""
        return {name: plain(value) for name, value in dataclasses.asdict(self).items()}


def plain(value: Any) -> Any:
    """`value`, or None instead of NaN, which JSON lacks."""
    return None if isinstance(value, float) and math.isnan(value) else value


def plain_list(values: np.ndarray) -> list[Any]:
    """An array as nested lists, None instead of NaN."""
    if np.ndim(values) > 1:
        return [plain_list(row) for row in values]
    return [plain(value) for value in np.asarray(values, dtype=np.float64).tolist()]


UNIT = (0.0, 1.0)  # the ends of a Dice or of a Brier score
ALIKE = "none: no variance"  # between patients, which does not show that others are like them
_EQUAL = 1e-9  # of a standard error: up to here it is rounding


def mean(
    values: np.ndarray, patients: np.ndarray, ends: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """The mean over lesions with the 95 % t interval of its between-patient variance, if any.

    Args:
      values: [N].
      patients: [N] patient ids.
      ends: that no value can pass, so that the interval ends there; few patients' t interval would
        go on.
    """
    values = np.asarray(values, dtype=np.float64)
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    n, count = len(values), len(names)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, "none: nothing to count")
    value = float(values.mean())
    if count < 2:
        return Estimate(value, math.nan, math.nan, n, count, "none: one patient")
    sums = np.bincount(patient, weights=values - value)
    error = math.sqrt(count / (count - 1) * np.sum(sums**2)) / n
    if error < _EQUAL:
        return Estimate(value, math.nan, math.nan, n, count, ALIKE)
    half = stats.t.ppf(0.975, count - 1) * error
    name = f"t({count - 1}), clustered by patient"
    low, high = max(value - half, ends[0]), min(value + half, ends[1])
    return Estimate(value, float(low), float(high), n, count, name)

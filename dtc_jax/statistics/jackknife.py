"""Intervals of any statistic of lesions that come from patients: the delete-a-group jackknife.

Patients are dealt at random into groups, and the statistic is computed again without each group in
turn (Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17). It costs a few
dozen evaluations for a cohort of any size.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import special, stats

from dtc_jax.statistics.estimate import Estimate

_GROUPS = 50
_MANY, _FEW_GROUPS = 20_000, 12  # lesions, from which fewer groups do
_FEWEST = 5  # patients, for an interval
Scale = Literal["plain", "logit", "fisher"]


def estimate(
    statistic: Callable[[np.ndarray], float],
    patients: np.ndarray,
    scale: Scale = "plain",
    seed: int = 0,
) -> Estimate:
    """The statistic of all lesions with its 95 % t interval, clustered by patient.

    Args:
      statistic: of the lesions at these indices; NaN where it is undefined.
      patients: [N] patient ids.
      scale: on which the interval is symmetric: 'logit' for a value in (0, 1), 'fisher' for a
        correlation.
      seed: of the groups.
    """
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    n, count = len(patient), len(names)
    value = statistic(np.arange(n))
    groups = min(_GROUPS if n < _MANY else _FEW_GROUPS, count)
    if not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, n, count, "none: undefined for these lesions")
    if count < _FEWEST:
        return Estimate(value, math.nan, math.nan, n, count, "none: too few patients")
    forward, back = {
        "plain": (float, float),
        "logit": (special.logit, special.expit),
        "fisher": (np.arctanh, np.tanh),
    }[scale]
    group = (np.random.default_rng(seed).permutation(count) % groups)[patient]  # [N]
    with np.errstate(divide="ignore"):
        centre = forward(value)
        without = np.array([forward(statistic(np.flatnonzero(group != k))) for k in range(groups)])
    if not (math.isfinite(centre) and np.isfinite(without).all()):
        reason = "none: at the end of its scale, or undefined without some patients"
        return Estimate(value, math.nan, math.nan, n, count, reason)
    variance = (groups - 1) / groups * np.sum((without - centre) ** 2)
    margin = stats.t.ppf(0.975, groups - 1) * math.sqrt(variance)
    name = f"jackknife of {groups} groups of patients"
    low, high = float(back(centre - margin)), float(back(centre + margin))
    return Estimate(value, low, high, n, count, name)

"""The temperature of a network: one number that its logits are divided by (Guo et al., ICML 2017).

It changes how certain the scores are, never their order.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from dtc_jax.statistics import calibration

LEAST, MOST = 0.05, 20.0
_NORMAL = 1.959964  # 97.5 % quantile of the standard normal distribution
_STEP = 1e-3  # of log T, for the second derivative
_CUT = 1e-12  # probabilities are cut off there before their logit is taken


@dataclasses.dataclass(frozen=True)
class Temperature:
    """What the logits are divided by.

    Attributes:
      value: from `LEAST` to `MOST`; above 1 where the network was too certain.
      n: labelled cases of validation.
      note: why the value says little; '' where it does not.
      low: lower end of its 95 % interval. Cases count as independent, so it is too narrow where
        patients have several. `LEAST` where nothing was fitted.
      high: upper end; `MOST` where nothing was fitted.
    """

    value: float
    n: int
    note: str = ""
    low: float = LEAST
    high: float = MOST

    def __post_init__(self):
        if not LEAST <= self.value <= MOST:  # of a file, it may be anything
            raise ValueError(f"a temperature is from {LEAST:g} to {MOST:g}, not {self.value}.")


def fit(labels: np.ndarray, scores: np.ndarray) -> Temperature:
    """The temperature with the least cross-entropy; every case counts the same.

    The targets are those of `calibration.smoothed`, as in the recalibration of the report, so that
    classes that the scores separate do not ask for a temperature of 0. Without both classes, or
    where all scores are equal, it is 1.

    Args:
      labels: [N] 0 or 1.
      scores: [N] probabilities of 1.
    """
    labels, count = np.asarray(labels), len(labels)
    if len(np.unique(labels)) < 2:
        return Temperature(1.0, count, "1 by default: the validation split lacks a class")
    logits = special.logit(np.clip(np.asarray(scores, np.float64), _CUT, 1 - _CUT))
    if calibration.is_constant(logits):
        return Temperature(1.0, count, "1 by default: all scores of validation are equal")
    targets = calibration.smoothed(labels)

    def loss(log_temperature: float) -> float:
        divided = logits / np.exp(log_temperature)
        return float((np.logaddexp(0, divided) - targets * divided).mean())

    # It is convex in 1 / T, so it has one minimum in log T as well.
    ends = (np.log(LEAST), np.log(MOST))
    found = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-8})
    note = ""
    if calibration.are_separated(logits[labels == 0], logits[labels == 1]):
        note = "the scores of validation separate the classes"
    if np.abs(found.x - np.array(ends)).min() < 1e-3:
        note = f"at the end of the range from {LEAST:g} to {MOST:g}"
    logs = np.clip(_interval(loss, found.x, count), *ends)
    low, value, high = np.clip(np.exp(logs), LEAST, MOST).tolist()  # exp(log(x)) is not quite x
    return Temperature(value, count, note, low, high)


def _interval(loss: Callable[[float], float], x: float, count: int) -> tuple[float, float, float]:
    """The lower end of Wald's 95 % interval of log T, `x`, and the upper end.

    Args:
      loss: mean cross-entropy by log T.
      x: log T with the least of it.
      count: cases.
    """
    curvature = (loss(x + _STEP) - 2 * loss(x) + loss(x - _STEP)) / _STEP**2
    width = _NORMAL / math.sqrt(max(count * curvature, 1e-9))
    return x - width, x, x + width

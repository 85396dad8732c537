"""A number with its 95 % interval, what it was counted from, and how the interval was made."""

import dataclasses
import math
from typing import Any

Z_95 = 1.959963984540054  # the normal distribution's two-sided 95 % quantile


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate and its 95 % confidence interval; NaN where it cannot be had.

    Attributes:
      value: the point estimate.
      low: lower end of the interval.
      high: upper end of the interval.
      n: predictions it was counted from, one a lesion and fold; of a rate, its denominator.
      patients: patients among them, or None where patients are unknown.
      interval: how the interval was made.
    """

    value: float
    low: float
    high: float
    n: int
    patients: int | None = None
    interval: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values: None in place of NaN."""
        return {name: plain(value) for name, value in dataclasses.asdict(self).items()}


def plain(value: Any) -> Any:
    """`value`, or None in place of a NaN, which JSON has not."""
    return None if isinstance(value, float) and math.isnan(value) else value

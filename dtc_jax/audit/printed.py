"""Figures as printed in a paper: numbers known only to their last digit."""

import dataclasses
import decimal
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtc_jax.errors import InputError

_MOST_DIGITS = 9  # of a number of lesions or patients


@dataclasses.dataclass(frozen=True)
class Printed:
    """A number as printed.

    Attributes:
      text: as printed.
      value: the number; a percentage is divided by 100.
      half: half a unit of the last digit: the largest error of rounding.
      below: printed as "< value".
    """

    text: str
    value: float
    half: float
    below: bool = False

    @classmethod
    def parse(cls, text: object, field: str) -> "Printed":
        """Reads '.768', '76.8 %', '1077' or '< .001'; trailing zeros count as digits.

        Raises:
          InputError: it is not a number; names `field`.
        """
        words = str(text).strip()
        below = words.startswith("<")
        number = words.lstrip("<").replace("%", "").replace("·", ".").strip()
        try:
            value = decimal.Decimal(number)
        except decimal.InvalidOperation as error:
            raise InputError(f"{field}: {words!r} is not a number.") from error
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or exponent > 300 or math.isinf(float(value)):
            raise InputError(f"{field}: {words!r} is not a finite number.")
        scale = 0.01 if words.endswith("%") else 1.0
        return cls(words, float(value) * scale, 0.5 * 10.0**exponent * scale, below)

    def fits(self, value: np.ndarray | float) -> np.ndarray:
        """Whether `value` rounds to the printed number; a half may round either way."""
        values = np.asarray(value, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            if self.below:
                return values < self.value
            return np.abs(values - self.value) <= self.half * (1 + 1e-9)

    def fits_range(self, low: float, high: float) -> bool:
        """Whether any value from `low` to `high` rounds to the printed number."""
        if self.below:
            return low < self.value
        return low <= self.value + self.half and self.value - self.half <= high


def figure(claim: Mapping[str, Any], name: str) -> Printed:
    """The figure `name` of a claim, printed alone or as the `value` beside its interval."""
    entry = claim[name]
    text = entry.get("value") if isinstance(entry, Mapping) else entry
    return Printed.parse(text, f"{claim['name']}.{name}")


def interval(claim: Mapping[str, Any], name: str) -> list[Printed]:
    """The ends of the interval printed beside the figure `name` of a claim; [] if there is none.

    Raises:
      InputError: an end is not a number.
    """
    entry = claim.get(name)
    if not isinstance(entry, Mapping) or not {"low", "high"} & set(entry):
        return []
    return [
        Printed.parse(entry.get(end, ""), f"{claim['name']}.{name}.{end}")
        for end in ("low", "high")
    ]


def whole_number(claim: Mapping[str, Any], field: str) -> int:
    """The whole number `field` of a claim.

    Raises:
      InputError: it is not a whole number, or has more than nine digits.
    """
    text = str(claim.get(field, "")).strip()
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise InputError(
            f"{claim['name']}.{field}: {shown!r} is not a whole number of at most {_MOST_DIGITS} "
            "digits."
        )
    return int(text)

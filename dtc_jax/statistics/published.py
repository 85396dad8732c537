"""Figures as printed in a paper: a number known only to its last digit."""

import dataclasses
import decimal
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtc_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Printed:
    """A number as printed.

    Attributes:
      text: as printed.
      value: the number; a percentage is divided by 100.
      half: half a unit of the last digit: what rounding can have hidden.
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
          InputError: it is no number; names `field`.
        """
        words = str(text).strip()
        below = words.startswith("<")
        number = words.lstrip("<").replace("%", "").replace("·", ".").strip()
        try:
            value = decimal.Decimal(number)
        except decimal.InvalidOperation as error:
            raise InputError(f"{field}: {words!r} is not a number.") from error
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            raise InputError(f"{field}: {words!r} is not a finite number.")
        scale = 0.01 if words.endswith("%") else 1.0
        return cls(words, float(value) * scale, 0.5 * 10.0**exponent * scale, below)

    def fits(self, value: np.ndarray | float) -> np.ndarray:
        """Whether `value`, rounded, is what is printed; of two ways to round a half, either."""
        values = np.asarray(value, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            if self.below:
                return values < self.value
            return np.abs(values - self.value) <= self.half * (1 + 1e-9)

    def fits_range(self, low: float, high: float) -> bool:
        """Whether any value from `low` to `high` is, rounded, what is printed."""
        if self.below:
            return low < self.value
        return low <= self.value + self.half and self.value - self.half <= high


def figure(one: Mapping[str, Any], name: str) -> Printed:
    """The claim `one`'s figure `name`, printed alone or as the `value` beside its interval."""
    claim = one[name]
    text = claim.get("value") if isinstance(claim, Mapping) else claim
    return Printed.parse(text, f"{one['name']}.{name}")


def interval(one: Mapping[str, Any], name: str) -> list[Printed]:
    """The ends of the interval printed beside the claim `one`'s figure `name`; [] without one.

    Raises:
      InputError: an end is no number.
    """
    claim = one.get(name)
    if not isinstance(claim, Mapping) or not {"low", "high"} & set(claim):
        return []
    return [
        Printed.parse(claim.get(end, ""), f"{one['name']}.{name}.{end}") for end in ("low", "high")
    ]


def whole(one: Mapping[str, Any], field: str) -> int:
    """The claim `one`'s whole number `field`.

    Raises:
      InputError: it is none.
    """
    text = str(one.get(field, "")).strip()
    if not text.isdecimal():
        raise InputError(f"{one['name']}.{field}: {text!r} is not a whole number.")
    return int(text)

"""How numbers, intervals and fields are written, on the screen and in the report."""

import math
from collections.abc import Mapping
from typing import Any

MISSING = "n/a"


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """A number with a true minus sign, or 'n/a' for None and NaN.

    Args:
      value: the number.
      digits: after the decimal point.
      sign: '+' to write the sign of a positive number as well.
    """
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def estimate(value: Mapping[str, Any] | None, digits: int = 3, sign: str = "") -> str:
    """'0.879 (0.852–0.906)': an `Estimate.as_dict` with its 95 % interval, if it has one.

    Args:
      value: the estimate, or None.
      digits: after the decimal point.
      sign: '+' for a difference.
    """
    if value is None or value["value"] is None:
        return MISSING
    return f"{number(value['value'], digits, sign)} {interval(value, digits, sign)}".rstrip()


def interval(value: Mapping[str, Any], digits: int = 3, sign: str = "") -> str:
    """'(0.852–0.906)'; with 'to' where an end has a sign, which a dash would hide."""
    if value["low"] is None:
        return ""
    between = " to " if value["low"] < 0 or sign else "–"
    low, high = (number(value[end], digits, sign) for end in ("low", "high"))
    return f"({low}{between}{high})"


def p_value(value: float | None) -> str:
    """'0.034' or '< 0.001', or 'n/a'."""
    if value is not None and value < 0.001:
        return "< 0.001"
    return number(value)


def count(amount: int, noun: str) -> str:
    """'1 patient', '24 patients'."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def setting(value: Any) -> str:
    """A value of a configuration: '(1, 2)' for a list or a tuple."""
    return f"({', '.join(map(str, value))})" if isinstance(value, list | tuple) else str(value)

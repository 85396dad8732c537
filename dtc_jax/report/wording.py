"""How numbers are written in the report."""

import math
from collections.abc import Mapping
from typing import Any

MISSING = "n/a"


def number(value: float | None, digits: int = 3) -> str:
    """A number with a true minus sign, or 'n/a' for None and NaN."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def estimate(value: Mapping[str, Any] | None, digits: int = 3) -> str:
    """'0.879 (0.852–0.906)': an ESTIMATE of `statistics.study` with its 95 % interval."""
    if value is None or value["value"] is None:
        return MISSING
    if value["low"] is None:
        return number(value["value"], digits)
    return f"{number(value['value'], digits)} {interval(value, digits)}"


def interval(value: Mapping[str, Any], digits: int = 3) -> str:
    """'(0.852–0.906)'; a negative end is set off by 'to', as two minus signs would not be read."""
    if value["low"] is None:
        return ""
    between = " to " if value["low"] < 0 else "–"
    return f"({number(value['low'], digits)}{between}{number(value['high'], digits)})"


def p_value(value: float | None) -> str:
    """'0.034' or '< 0.001', or 'n/a'."""
    if value is not None and value < 0.001:
        return "< 0.001"
    return number(value)


def count(amount: int, noun: str) -> str:
    """'1 patient', '24 patients'."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"

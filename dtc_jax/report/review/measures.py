"""A lesion's row of lesions.csv in words."""

import math
from collections.abc import Mapping
from typing import Any

from dtc_jax.report import wording

_NAMES = {
    "diameter_mm": "Axial diameter",
    "volume_mm3": "Volume",
    "mean_hu": "Mean density",
    "mean_probability": "Segmenter, mean",
    "max_probability": "Segmenter, maximum",
}
_DIGITS = {"diameter_mm": 1, "volume_mm3": 0, "mean_hu": 0}
_UNITS = {"diameter_mm": " mm", "volume_mm3": " mm³", "mean_hu": " HU"}
_ELSEWHERE = ("lesion_id", "refractory_probability", "threshold", "decision")


def facts(measures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) of all that is measured; where the lesion lies comes as one line of three."""
    center = [finite(measures.get(f"center_{axis}_mm")) for axis in "xyz"]
    lines = [
        (_NAMES.get(name, name.replace("_", " ").capitalize()), _text(name, value))
        for name, value in measures.items()
        if name not in _ELSEWHERE and not name.startswith(("box_", "center_"))
    ]
    if None not in center:
        x, y, z = (wording.number(value, 0) for value in center)
        lines.append(("Centre (x, y, z)", f"{x}, {y}, {z} mm"))
    return lines


def decision(value: Any) -> str:
    """The decision in words, also where the table has the 1 and 0 of predictions.csv."""
    return {1: "refractory", 0: "avid"}.get(value, str(value))


def finite(value: Any) -> float | None:
    """A number, or None where there is none, or NaN."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    number = finite(value)
    if number is None:
        return wording.MISSING
    whole = number.is_integer() and name not in _NAMES
    return wording.number(number, 0 if whole else _DIGITS.get(name, 2)) + _UNITS.get(name, "")

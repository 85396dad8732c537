"""What the review page shows of a lesion, and its measures as text."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from dtc_jax.imaging.volume import Volume
from dtc_jax.statistics import formatting

_NAMES = {
    "diameter_mm": "Axial diameter",
    "volume_mm3": "Volume",
    "mean_hu": "Mean density",
    "mean_probability": "Segmenter, mean",
    "max_probability": "Segmenter, maximum",
}
_DIGITS = {"diameter_mm": 1, "volume_mm3": 0, "mean_hu": 0}
_UNITS = {"diameter_mm": " mm", "volume_mm3": " mm³", "mean_hu": " HU"}
_MOST_DIGITS = 8  # single precision has no more next to 1
_SHOWN_APART = {
    *("lesion_id", "refractory_probability", "threshold", "decision"),
    *("long_axis_mm", "short_axis_mm", "side", "slice", "lesion_probability", "is_lesion"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """A lesion and its measures.

    Attributes:
      lesion_id: its number in the instance mask.
      image: HU around the lesion, with axes in any orientation.
      mask: bool, on the grid of `image`.
      heat: Grad-CAM in logit units, at least 0, on the grid of `image`; or None.
      measures: its row of lesions.csv: the columns of `imaging.instances.COLUMNS`, then
        `refractory_probability`, `threshold` and `decision`, and, where known, `side`, `slice`,
        `lesion_probability` and `is_lesion`; None where a value is not known.
    """

    lesion_id: int
    image: Volume
    mask: Volume
    heat: Volume | None
    measures: Mapping[str, float | int | str | None]

    def __post_init__(self):
        for name, other in (("mask", self.mask), ("heat", self.heat)):
            if other is not None and other.shape != self.image.shape:
                raise ValueError(
                    f"lesion {self.lesion_id}: the {name} has {other.shape} voxels (z, y, x), the "
                    f"image {self.image.shape}"
                )


def facts(measures: Mapping[str, Any], slices: str = "") -> list[tuple[str, str]]:
    """(name, text) of every measure.

    The two axes share a line, and so do the coordinates of the centre. What is not known of `side`,
    `slice` and `lesion_probability` has none.

    Args:
      measures: of the lesion.
      slices: what the numbers of the slices are, in words.
    """
    lines = []
    axes = [finite(measures.get(f"{name}_axis_mm")) for name in ("long", "short")]
    if None not in axes:
        long, short = (formatting.number(axis, 1) for axis in axes)
        lines.append(("Long × short axis", f"{long} × {short} mm"))
    if measures.get("side"):
        lines.append(("Side", str(measures["side"])))
    if (number := finite(measures.get("slice"))) is not None:
        lines.append(("Slice", f"{number:.0f} ({slices})" if slices else f"{number:.0f}"))
    if (certainty := finite(measures.get("lesion_probability"))) is not None:
        below = "" if measures.get("is_lesion") else ", below threshold"
        lines.append(("Probability of a lesion", f"{_certain(certainty)}{below}"))
    hidden = _SHOWN_APART | ({"diameter_mm"} if None not in axes else set())
    if certainty is not None and certainty == finite(measures.get("max_probability")):
        hidden |= {"max_probability"}  # the segmenter's threshold decides, not a second network
    lines += [
        (_NAMES.get(name, name.replace("_", " ").capitalize()), _text(name, value))
        for name, value in measures.items()
        if name not in hidden and not name.startswith(("box_", "center_"))
    ]
    center = center_mm(measures)
    if center is not None:
        x, y, z = (formatting.number(value, 0) for value in center)
        lines.append(("Centre (x, y, z)", f"{x}, {y}, {z} mm"))
    return lines


def _certain(probability: float) -> str:
    """With two digits, and where it is nearly 1 as many as tell it from 1."""
    digits = 2
    while digits < _MOST_DIGITS and 10**-digits > (1 - probability) / 2 and probability < 1:
        digits += 1
    return f"{probability:.{digits}f}"


def center_mm(measures: Mapping[str, Any]) -> list[float] | None:
    """The world coordinates of the centre, if they are known."""
    center = [finite(measures.get(f"center_{axis}_mm")) for axis in "xyz"]
    return [value for value in center if value is not None] if None not in center else None


def decision(value: Any) -> str:
    """The decision in words, also if the table has the 1 and 0 of predictions.csv."""
    return {1: "refractory", 0: "avid"}.get(value, str(value))


def finite(value: Any) -> float | None:
    """A finite number, or None."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    number = finite(value)
    if number is None:
        return formatting.MISSING
    whole = number.is_integer() and name not in _NAMES
    return formatting.number(number, 0 if whole else _DIGITS.get(name, 2)) + _UNITS.get(name, "")

"""What the review page shows: the lesions, their measures as text, and the head of the page."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
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
_SHOWN_APART = ("lesion_id", "refractory_probability", "threshold", "decision")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A lesion and its measures.

    Attributes:
      lesion_id: its number in the instance mask.
      image: HU around the lesion, with axes in any orientation.
      mask: bool, on the grid of `image`.
      heat: Grad-CAM in logit units, at least 0, on the grid of `image`; or None.
      measures: its row of lesions.csv: the columns of `imaging.instances.COLUMNS`, then
        `refractory_probability`, `threshold` and `decision`.
    """

    lesion_id: int
    image: Volume
    mask: Volume
    heat: Volume | None
    measures: Mapping[str, float | int | str]

    def __post_init__(self):
        for name, other in (("mask", self.mask), ("heat", self.heat)):
            if other is not None and other.shape != self.image.shape:
                raise ValueError(
                    f"lesion {self.lesion_id}: the {name} has {other.shape} voxels (z, y, x), the "
                    f"image {self.image.shape}"
                )


@dataclasses.dataclass(frozen=True)
class About:
    """The header of the page.

    Attributes:
      title: a pseudonym or the id of the scan, never the identity of a patient.
      threshold: a lesion with at least this probability is classified as refractory.
      lines: further details, as (name, value).
    """

    title: str
    threshold: float
    lines: Sequence[tuple[str, str]]


def facts(measures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) of every measure; the coordinates of the centre share one line."""
    center = [finite(measures.get(f"center_{axis}_mm")) for axis in "xyz"]
    lines = [
        (_NAMES.get(name, name.replace("_", " ").capitalize()), _text(name, value))
        for name, value in measures.items()
        if name not in _SHOWN_APART and not name.startswith(("box_", "center_"))
    ]
    if None not in center:
        x, y, z = (formatting.number(value, 0) for value in center)
        lines.append(("Centre (x, y, z)", f"{x}, {y}, {z} mm"))
    return lines


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

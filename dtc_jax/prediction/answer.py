"""The answer to a scan: its lesions, classified."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.imaging import instances, lesions
from dtc_jax.imaging.numbering import Slices
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import classify, second_look
from dtc_jax.inference import heat as heat_lib
from dtc_jax.inference.classify import Classifier
from dtc_jax.inference.segment import segment
from dtc_jax.prediction import places
from dtc_jax.prediction.predictors import Predictors
from dtc_jax.report.review import Finding

NOTICE = "For research use only"
LATER = {  # columns that answers of earlier versions do not have, and what is empty there
    "long_axis_mm": float,
    "short_axis_mm": float,
    "side": object,
    "slice": "Int64",
    "lesion_probability": float,
    "is_lesion": "boolean",
}
COLUMNS = (
    *instances.COLUMNS,
    *(name for name in LATER if name not in instances.COLUMNS),
    *("refractory_probability", "threshold", "decision", "notice"),
)
_SHOWN_MM = 60.0  # side of what a reviewer sees of a lesion
_AROUND_MM = 12.0  # a large lesion is seen with as much around it
_FINEST_MM = (1.5, 1.0, 1.0)  # along z, y, x; thick slices are shown as they are
_MOST_VOXELS = 72  # along an axis: a large lesion is shown coarser, or it alone would be megabytes


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to a scan.

    Attributes:
      image: HU.
      mask: the lesions' numbers, on the grid of `image`.
      table: a row a lesion, columns of `COLUMNS`.
      heat: heat map of each lesion by its number, on the grid of its crop at 1 mm.
      threshold: of the decision.
      sides: of `places.sides`, on the grid of `image`; None where the lungs are not known.
      slices: how the scan's files number its slices.
    """

    image: Volume
    mask: Volume
    table: pd.DataFrame
    heat: dict[int, Volume]
    threshold: float
    sides: Volume | None
    slices: Slices

    @property
    def is_shown(self) -> pd.Series:
        """Bool for each row of `table`: all but those that a network takes for false findings."""
        return self.table.is_lesion.fillna(True).astype(bool)

    @property
    def shown_mask(self) -> Volume:
        """`mask` without the findings that a network takes for false."""
        shown = self.table.lesion_id[self.is_shown]
        return Volume(
            np.where(np.isin(self.mask.array, shown), self.mask.array, 0), self.mask.affine
        )


def of_scan(
    predictors: Predictors,
    image: Volume,
    lungs: Volume | None,
    outlined: Volume | None,
    slices: Slices,
    clock: "Clock",
) -> Answer:
    """Finds the lesions of a scan, or takes those that are outlined, and classifies them.

    Args:
      predictors: without a segmenter, the lesions are those of `outlined`.
      image: HU.
      lungs: bool on the grid of `image`; None where they are not known and not needed.
      outlined: the lesions' numbers on the grid of `image`; None to find them.
      slices: see `Answer`.
      clock: counts the time of each part.
    """
    if outlined is not None:
        mask, measured = outlined, instances.measure(image, outlined)
        clock.lap("outlined lesions")
    else:
        if predictors.segmenter is None:
            raise ValueError("without a segmenter, the lesions must be outlined.")
        found = segment(predictors.segmenter, image, lungs)
        clock.lap("segment")
        mask, lungs = found.mask, found.lungs
        measured = second_look.look_again(predictors.segmenter, predictors.candidates, image, found)
        if predictors.candidates:
            clock.lap("second look")
    sides = None if lungs is None else places.sides(lungs)
    answer = make(predictors.classifier, image, mask, measured, sides, slices)
    clock.lap("classify and heat maps")
    return answer


def make(
    classifier: Classifier,
    image: Volume,
    mask: Volume,
    measured: pd.DataFrame,
    sides: Volume | None,
    slices: Slices,
) -> Answer:
    """Classifies the lesions of a scan.

    Args:
      classifier: see `inference.classify`.
      image: HU.
      mask: the lesions' numbers, on the grid of `image`.
      measured: columns of `instances.COLUMNS`, a row a lesion in the order of their numbers; and
        `lesion_probability` and `is_lesion` where a network tells lesions from false findings.
      sides, slices: see `Answer`.
    """
    classified = list(classify.classify(classifier, image, mask, heat=True))
    by_lesion = {lesion.lesion_id: lesion.probability for lesion in classified}
    probabilities = pd.Series(by_lesion, dtype=float)
    table = places.add(measured, mask, sides, slices).assign(
        refractory_probability=measured.lesion_id.map(probabilities).astype(float),
        threshold=classifier.threshold,
        notice=NOTICE,
    )
    positive = table.refractory_probability >= classifier.threshold
    table["decision"] = np.where(positive, "refractory", "avid")
    heat = {lesion.lesion_id: lesion.heat for lesion in classified if lesion.heat is not None}
    return Answer(image, mask, complete(table), heat, classifier.threshold, sides, slices)


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """A table with all `COLUMNS` in their order; those of `LATER` are empty if it lacks them."""
    return table.reindex(columns=list(COLUMNS)).astype(LATER).fillna({"side": ""})


def summary(answer: Answer) -> dict[str, Any]:
    """The figures of a scan: how many lesions, and what share of them is predicted refractory.

    Findings that are probably no lesions do not count; how many they are stands apart.
    """
    table = answer.table[answer.is_shown]
    refractory = table.decision == "refractory"
    total_mm3 = float(table.volume_mm3.sum())
    refractory_mm3 = float(table.volume_mm3[refractory].sum())
    some = len(table) > 0
    return {
        "notice": NOTICE,
        "lesions": len(table),
        "findings_below_threshold": len(answer.table) - len(table),
        "refractory_lesions": int(refractory.sum()),
        "refractory_share": float(refractory.mean()) if some else None,
        "volume_mm3": total_mm3,
        "refractory_volume_mm3": refractory_mm3,
        "refractory_volume_share": refractory_mm3 / total_mm3 if some else None,
        "highest_probability": float(table.refractory_probability.max()) if some else None,
        "mean_probability": float(table.refractory_probability.mean()) if some else None,
        "threshold": answer.threshold,
    }


def findings(answer: Answer) -> Iterator[Finding]:
    """What the review page shows of each lesion, one at a time."""
    table = answer.table.drop(columns="notice").astype(object)
    table = table.where(table.notna(), None)
    rows = {row["lesion_id"]: row for row in table.to_dict("records")}
    for number, box in lesions.numbered(answer.mask.array):
        image, region = _shown(answer, number, box)
        heat = answer.heat.get(number)
        if heat is not None:
            middle_mm = heat.world((np.array(heat.shape) - 1) / 2)
            heat = heat_lib.on_scan(heat.array, middle_mm, 1.0, image)
        yield Finding(number, image, region, heat, rows[number])


def _shown(answer: Answer, number: int, box: tuple[slice, ...]) -> tuple[Volume, Volume]:
    """HU and mask about a lesion, fine enough for a page that a hundred of them do not swell."""
    sides_mm = np.array([side.stop - side.start for side in box]) * answer.image.spacing_mm  # [3]
    extent_mm = np.maximum(_SHOWN_MM, sides_mm + 2 * _AROUND_MM)
    finest_mm = np.maximum(_FINEST_MM, extent_mm / _MOST_VOXELS)
    spacing_mm = np.maximum(finest_mm, answer.image.spacing_mm)
    depth, height, width = (int(n) for n in np.ceil(extent_mm / spacing_mm))
    size, center_mm = (depth, height, width), lesions.middle_mm(answer.image, box)
    image, _ = lesions.cut(answer.image, center_mm, size, spacing_mm)
    part = answer.mask.part(box)
    lesion = Volume(part.array == number, part.affine)  # it is all inside its box
    region, _ = lesions.cut(lesion, center_mm, size, spacing_mm, kind="mask")
    if not region.array.any():  # smaller than a voxel here
        region.array[tuple((n - 1) // 2 for n in size)] = True
    return image, region


class Clock:
    """Seconds by part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, part: str) -> None:
        """Counts the time since the last lap as that of `part`."""
        now = time.monotonic()
        self.seconds[part] = round(now - self._last, 3)
        self._last = now

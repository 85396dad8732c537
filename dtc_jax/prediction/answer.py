"""The answer to a scan: its lesions, classified."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.crops.record import CropParams
from dtc_jax.imaging import instances, lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import classify, saliency
from dtc_jax.inference.classify import Classifier
from dtc_jax.report.review import Finding

NOTICE = "For research use only"
COLUMNS = (*instances.COLUMNS, "refractory_probability", "threshold", "decision", "notice")
_SHOWN_MM = 64  # side of what a reviewer sees of a lesion
_AROUND_MM = 12  # a large lesion is seen with as much around it


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to a scan.

    Attributes:
      image: HU.
      mask: the lesions' numbers, on the grid of `image`.
      table: a row a lesion, columns of `COLUMNS`.
      heat: heat map of each lesion by its number, on the grid of its crop at 1 mm.
      threshold: of the decision.
    """

    image: Volume
    mask: Volume
    table: pd.DataFrame
    heat: dict[int, Volume]
    threshold: float


def make(classifier: Classifier, image: Volume, mask: Volume, measured: pd.DataFrame) -> Answer:
    """Classifies the lesions of a scan.

    Args:
      classifier: see `inference.classify`.
      image: HU.
      mask: the lesions' numbers, on the grid of `image`.
      measured: columns of `instances.COLUMNS`, a row a lesion in the order of their numbers.
    """
    classified = list(classify.classify(classifier, image, mask, heat=True))
    by_lesion = {lesion.lesion_id: lesion.probability for lesion in classified}
    probabilities = pd.Series(by_lesion, dtype=float)
    table = measured.assign(
        refractory_probability=measured.lesion_id.map(probabilities).astype(float),
        threshold=classifier.threshold,
        notice=NOTICE,
    )
    positive = table.refractory_probability >= classifier.threshold
    table["decision"] = np.where(positive, "refractory", "avid")
    heat = {lesion.lesion_id: lesion.heat for lesion in classified if lesion.heat is not None}
    return Answer(image, mask, table[list(COLUMNS)], heat, classifier.threshold)


def summary(answer: Answer) -> dict[str, Any]:
    """The figures of a scan: how many lesions, and what share of them is predicted refractory."""
    table = answer.table
    refractory = table.decision == "refractory"
    total_mm3 = float(table.volume_mm3.sum())
    refractory_mm3 = float(table.volume_mm3[refractory].sum())
    some = len(table) > 0
    return {
        "notice": NOTICE,
        "lesions": len(table),
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
    rows = {row["lesion_id"]: row for row in answer.table.drop(columns="notice").to_dict("records")}
    for number, box in lesions.numbered(answer.mask.array):
        sides = [side.stop - side.start for side in box] * answer.image.spacing_mm  # [3] mm
        depth, height, width = (
            max(_SHOWN_MM, int(np.ceil(side)) + 2 * _AROUND_MM) for side in sides
        )
        crop = CropParams((depth, height, width))
        image, region = classify.cut(answer.image, answer.mask, number, box, crop)
        heat = answer.heat.get(number)
        if heat is not None:
            middle_mm = heat.world((np.array(heat.shape) - 1) / 2)
            heat = saliency.on_scan(heat.array, middle_mm, 1.0, image)
        yield Finding(number, image, Volume(region.array > 0, region.affine), heat, rows[number])


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

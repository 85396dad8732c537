"""The second look at what a segmenter has found: which findings are lesions at all."""

import dataclasses

import numpy as np
import pandas as pd

from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import Classifier, classify
from dtc_jax.inference.segment import Segmentation, Segmenter


@dataclasses.dataclass(frozen=True)
class Certainty:
    """How certain it is of each finding that it is a lesion.

    Attributes:
      scores: by the findings' numbers.
      threshold: what is below it is probably no lesion.
    """

    scores: pd.Series
    threshold: float


def certainty(
    segmenter: Segmenter, candidates: Classifier | None, image: Volume, found: Segmentation
) -> Certainty | None:
    """What decides which findings are lesions: the second look, else the segmenter's threshold.

    Args:
      segmenter: that found them.
      candidates: see `probabilities`; None for none.
      image: HU.
      found: in `image`.

    Returns:
      None where neither is given: all findings are taken for lesions.
    """
    if candidates is not None:
        return Certainty(probabilities(candidates, image, found.mask), candidates.threshold)
    if segmenter.instances.lesion_threshold > 0:
        scores = found.lesions.set_index("lesion_id").max_probability
        return Certainty(scores, segmenter.instances.lesion_threshold)
    return None


def probabilities(candidates: Classifier, image: Volume, mask: Volume) -> pd.Series:
    """The probability of each finding that it is a lesion, by its number.

    Args:
      candidates: trained to tell lesions from false findings, see `tasks.candidates`.
      image: HU.
      mask: the findings' numbers, on the grid of `image`.
    """
    found = {one.lesion_id: one.probability for one in classify(candidates, image, mask)}
    return pd.Series(found, dtype=float).rename_axis("lesion_id")


def look_again(
    segmenter: Segmenter, candidates: Classifier | None, image: Volume, found: Segmentation
) -> pd.DataFrame:
    """The findings, with `lesion_probability` and `is_lesion` where something decides on them.

    Args:
      segmenter, candidates, image, found: see `certainty`.
    """
    decides = certainty(segmenter, candidates, image, found)
    if decides is None:
        return found.lesions
    scores = found.lesions.lesion_id.map(decides.scores).astype(float)
    return found.lesions.assign(lesion_probability=scores, is_lesion=scores >= decides.threshold)


def without_false_findings(
    segmenter: Segmenter, candidates: Classifier | None, image: Volume, found: Segmentation
) -> Segmentation:
    """`found` without what is probably no lesion; the others keep their numbers."""
    decides = certainty(segmenter, candidates, image, found)
    if decides is None:
        return found
    numbers = decides.scores.index[decides.scores >= decides.threshold].to_numpy()
    array = np.where(np.isin(found.mask.array, numbers), found.mask.array, 0)
    return dataclasses.replace(
        found,
        lesions=found.lesions[found.lesions.lesion_id.isin(numbers)].reset_index(drop=True),
        mask=dataclasses.replace(found.mask, array=array),
    )

"""The second look at what a segmenter has found: which findings are lesions at all."""

import dataclasses

import numpy as np
import pandas as pd

from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import Classifier, classify
from dtc_jax.inference.segment import Segmentation


def probabilities(candidates: Classifier, image: Volume, mask: Volume) -> pd.Series:
    """The probability of each finding that it is a lesion, by its number.

    Args:
      candidates: trained to tell lesions from false findings, see `tasks.candidates`.
      image: HU.
      mask: the findings' numbers, on the grid of `image`.
    """
    found = {one.lesion_id: one.probability for one in classify(candidates, image, mask)}
    return pd.Series(found, dtype=float).rename_axis("lesion_id")


def kept(found: Segmentation, candidates: Classifier, image: Volume) -> Segmentation:
    """`found` without what is probably no lesion; the others keep their numbers."""
    scores = probabilities(candidates, image, found.mask)
    numbers = scores.index[scores >= candidates.threshold].to_numpy()
    array = np.where(np.isin(found.mask.array, numbers), found.mask.array, 0)
    return dataclasses.replace(
        found,
        lesions=found.lesions[found.lesions.lesion_id.isin(numbers)].reset_index(drop=True),
        mask=dataclasses.replace(found.mask, array=array),
    )

"""The scores of test lesions whose inside, or whose surroundings, are taken from the network.

What is taken is replaced by the mean HU of the lesion's rim. The mask stays, and with it the size,
for a network that sees the mask. Such pictures exist in no scan, so a change of the score says
where the network looks, not what it would say of another lesion. After Zeiler and Fergus 2014,
"Visualizing and understanding convolutional networks", sec. 4.2.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import ndimage

from dtc_jax.experiment import folds
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import TrainedNetwork
from dtc_jax.training.batches import Records

FILE = "occluded.csv"
OCCLUDED = ("inside", "surroundings")
_RIM = 2  # voxels of 1 mm


def occlude(image: np.ndarray, mask: np.ndarray, extent: np.ndarray) -> dict[str, np.ndarray]:
    """A crop without the inside of its lesion, and one without its surroundings.

    Args:
      image: [d, h, w] int16 HU at 1 mm.
      mask: [d, h, w], 1 inside the lesion.
      extent: [3, 2] range of indices inside the scan: padding is no rim.

    Returns:
      By `OCCLUDED`, each [d, h, w] int16. The surroundings begin beyond the first voxel around the
      mask, so that its margin stays in both.
    """
    lesion = mask == 1
    within = np.zeros_like(lesion)
    within[tuple(slice(start, stop) for start, stop in extent)] = True
    rim = ndimage.binary_dilation(lesion, iterations=_RIM) & ~lesion & within
    even = np.int16(np.round(image[rim].mean())) if rim.any() else np.int16(0)
    beyond = ~ndimage.binary_dilation(lesion)
    return {
        "inside": np.where(lesion, even, image),
        "surroundings": np.where(beyond, even, image),
    }


class _Occluded(Records):
    """Stored crops without one part of their picture."""

    def __init__(self, records: Records, part: str):  # opens no dataset of its own
        self._whole, self._part = records, part

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        record = self._whole[position]
        parts = occlude(record["image"], record["mask"], record["extent"])
        return {**record, "image": parts[self._part]}


def scores(networks: Mapping[int, TrainedNetwork], data: Data, table: pd.DataFrame) -> pd.DataFrame:
    """The test rows with the score as it is and without each part.

    Of several processes each calls it.

    Args:
      networks: by the fold of the rows that they classify.
      data: of the run.
      table: of predictions.csv.

    Returns:
      Columns cohort, fold, patient_id, lesion_id, label, score, without_inside,
      without_surroundings.
    """
    tested = table[(table.split == "test") & table.score.notna()]
    positions = data.table.set_index("lesion_id").position
    parts = []
    for fold, rows in tested.groupby("fold", sort=False):
        placed = rows.assign(position=rows.lesion_id.map(positions))
        columns = {
            f"without_{part}": folds.predict_together(
                networks[int(fold)].members,
                dataclasses.replace(data, records=_Occluded(data.records, part)),
                placed,
            )
            for part in OCCLUDED
        }
        kept = rows[["cohort", "fold", "patient_id", "lesion_id", "label", "score"]]
        parts.append(kept.assign(**columns))
    return pd.concat(parts, ignore_index=True)

"""The scores of test lesions whose inside, or whose surroundings, are taken from the network.

What is taken is replaced by the mean HU of the lesion's rim. The mask stays, and with it the size,
for a network that sees the mask. Such pictures exist in no scan, so a change of the score says
where the network looks, not what it would say of another lesion. After Zeiler and Fergus 2014,
"Visualizing and understanding convolutional networks", sec. 4.2.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import ndimage, special

from dtc_jax import progress
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import TrainedNetwork

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


def scores(networks: Mapping[int, TrainedNetwork], data: Data, table: pd.DataFrame) -> pd.DataFrame:
    """The test rows with the score as it is and without each part.

    Args:
      networks: by the fold of the rows that they judge.
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
        network = networks[int(fold)]
        size = int(network.config.predict.batch_size)
        found: list[np.ndarray] = []
        for start in progress.track(range(0, len(rows), size), "scores without a part"):
            ids = rows.lesion_id.iloc[start : start + size]
            records = [data.records[int(positions[lesion])] for lesion in ids]
            filled = [*records, *[records[-1]] * (size - len(records))]  # one shape is compiled
            cut = [occlude(r["image"], r["mask"], r["extent"]) for r in filled]
            mask = np.stack([record["mask"] for record in filled])
            logits = [
                network.on_device(np.stack([images[name] for images in cut]), mask)
                for name in OCCLUDED
            ]
            found.append(special.expit(np.stack(logits, 1).astype(np.float64))[: len(records)])
        values = np.concatenate(found)
        kept = rows[["cohort", "fold", "patient_id", "lesion_id", "label", "score"]]
        columns = {f"without_{name}": values[:, i] for i, name in enumerate(OCCLUDED)}
        parts.append(kept.assign(**columns))
    return pd.concat(parts, ignore_index=True)

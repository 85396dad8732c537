"""What a segmenter must beat on patches with a lesion in their middle.

| name | what it calls lesion |
|---|---|
| dice_ball | a ball about the middle of the patch |
| dice_bright | of that ball, the piece nearest the middle of what is brighter than a threshold |

Radius and threshold are those with the highest mean Dice on the training patches of the fold. They
are compared with the mask where the network is: in its field of view, without what is ignored.
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import progress
from dtc_jax.imaging import lesions
from dtc_jax.imaging.preprocess import IGNORED, Preprocess, crop
from dtc_jax.training.batches import Records

_RADII_MM = np.arange(3.0, 25.0)
_BRIGHT_RADII_MM = np.arange(4.0, 25.0, 4.0)
_THRESHOLDS_HU = np.array([-700.0, -600.0, -500.0, -400.0, -300.0])
_BRIGHT = list(itertools.product(_THRESHOLDS_HU.tolist(), _BRIGHT_RADII_MM.tolist()))


def predict(records: Records, rows: pd.DataFrame, spec: Preprocess) -> pd.DataFrame:
    """Dice of each baseline, a column each, in the rows of `rows`; NaN where none is in the middle.

    Args:
      records: the stored patches.
      rows: fold, split, position and diameter_mm (NaN: no lesion in the middle).
      spec: what the network sees of a patch in prediction.
    """
    centred = rows[rows.diameter_mm.notna()]
    known = {
        position: _all_dice(records[position], spec)
        for position in progress.track(centred.position.unique(), "baselines' Dice")
    }
    result = pd.DataFrame({"dice_ball": np.nan, "dice_bright": np.nan}, index=rows.index)
    for _, fold in centred.groupby("fold"):
        train = fold.position[fold.split == "train"]
        for column, which in (("dice_ball", 0), ("dice_bright", 1)):
            best = np.mean([known[position][which] for position in train], axis=0).argmax()
            values = [known[position][which][best] for position in fold.position]
            result.loc[fold.index, column] = values
    return result


def _all_dice(record: dict[str, Any], spec: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """Dice of every ball, and of every threshold and radius."""
    hu, marked = crop(record["image"], spec, np), crop(record["mask"], spec, np, edge=False)
    mask, counted = marked == 1, marked != IGNORED
    axes = [(np.arange(n) - (n - 1) // 2) * spec.spacing_mm for n in mask.shape]
    squares = np.meshgrid(*(axis**2 for axis in axes), indexing="ij", sparse=True)
    apart_mm = np.sqrt(sum(squares))  # [d, h, w]
    balls = [_dice((apart_mm <= radius) & counted, mask) for radius in _RADII_MM]
    found = (_piece((hu > t) & (apart_mm <= r), apart_mm) for t, r in _BRIGHT)
    pieces = [_dice(piece & counted, mask) for piece in found]
    return np.array(balls), np.array(pieces)


def _piece(bright: np.ndarray, apart_mm: np.ndarray) -> np.ndarray:
    """The connected piece with the voxel nearest the middle."""
    if not bright.any():
        return bright
    nearest = np.where(bright, apart_mm, np.inf).argmin()
    pieces = lesions.components(bright)
    return pieces == pieces.flat[nearest]


def _dice(found: np.ndarray, true: np.ndarray) -> float:
    return 2.0 * (found & true).sum() / (found.sum() + true.sum())

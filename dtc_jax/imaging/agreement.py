"""Agreement of a segmentation with the reference: overlap, surfaces in mm, lesion by lesion.

The surface of a mask consists of its voxels with a neighbour (of six) outside; distances are
between voxel centres. Surface Dice (Nikolov et al., JMIR 2021) is the share of both surfaces within
a tolerance of the other surface; the 95 % Hausdorff distance is the larger of the two 95th
percentiles. Both count surface voxels, as MONAI does by default, not their area.
"""

import dataclasses
import math

import edt
import numpy as np
import pandas as pd
from scipy import ndimage

from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Comparison of two masks; NaN if a figure is undefined.

    Attributes:
      dice: of the voxels; NaN if both masks are empty, 0 if one is.
      surface_dice: NaN and 0 likewise.
      hausdorff_95_mm: NaN if either mask is empty.
      found_mm3: volume of the segmentation.
      true_mm3: volume of the reference.
    """

    dice: float
    surface_dice: float
    hausdorff_95_mm: float
    found_mm3: float
    true_mm3: float


def agreement(found: Volume, truth: Volume, tolerance_mm: float = 1.0) -> Agreement:
    """Compares two masks (nonzero voxels) on the same grid.

    Args:
      found: the mask to be evaluated.
      truth: the reference.
      tolerance_mm: of the surface Dice.
    """
    voxel_mm3 = float(np.prod(truth.spacing_mm))
    either = (found.array != 0) | (truth.array != 0)
    if not either.any():
        return Agreement(math.nan, math.nan, math.nan, 0.0, 0.0)
    box = lesions.bounding_box(either)
    a, b = (np.pad(mask.array[box] != 0, 1) for mask in (found, truth))
    sizes = [float(mask.sum()) for mask in (a, b)]
    dice = 2 * float((a & b).sum()) / sum(sizes)
    volumes = [size * voxel_mm3 for size in sizes]
    if min(sizes) == 0:
        return Agreement(dice, 0.0, math.nan, *volumes)
    distances = _surface_distances_mm(a, b, truth.spacing_mm)
    within = sum((side <= tolerance_mm).sum() for side in distances)
    surface_dice = float(within / sum(len(side) for side in distances))
    hausdorff_95_mm = max(float(np.percentile(side, 95)) for side in distances)
    return Agreement(dice, surface_dice, hausdorff_95_mm, *volumes)


def _surface_distances_mm(
    a: np.ndarray, b: np.ndarray, spacing_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the surface voxels of each mask to the surface of the other. # [Na], [Nb]"""
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    distances = [edt.edt(~surface, anisotropy=tuple(spacing_mm)) for surface in surfaces]
    return distances[1][surfaces[0]], distances[0][surfaces[1]]


def by_lesion(
    found: Volume, truth: Volume, scores: pd.Series, min_dice: float = 0.1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Matches found lesions with true lesions.

    A true lesion is compared with the union of all found lesions that share a voxel with it,
    without their voxels in other true lesions; it is found if the Dice reaches `min_dice`. A found
    lesion is a false positive if it shares no voxel with a true lesion that was found.

    Args:
      found: instance mask.
      truth: instance mask on the same grid.
      scores: of the found lesions, by number.
      min_dice: Dice from which a true lesion counts as found.

    Returns:
      The true lesions: `lesion_id` (number in `truth`), `diameter_mm` and `volume_mm3` of the true
      mask, `dice`, `is_found`, and `score`, the highest of the found lesions (NaN if not found).
      The found lesions: `lesion_id`, `score`, `is_false`.
    """
    shared = _shared_voxels(found.array, truth.array)
    size = np.bincount(found.array[found.array > 0])  # voxels by number
    voxel_mm3 = float(np.prod(truth.spacing_mm))
    in_truth = shared.groupby("found").voxels.sum()  # of a found lesion, inside true lesions
    rows, matched = [], set()
    for label, box in enumerate(ndimage.find_objects(truth.array.astype(np.int32)), start=1):
        if box is None:
            continue
        lesion = truth.array[box] == label
        pairs = shared[shared.true == label]
        overlap = pairs.voxels.sum()
        outside = sum(size[other] - in_truth[other] for other in pairs.found)
        dice = 2 * overlap / (lesion.sum() + overlap + outside)
        is_found = bool(overlap > 0 and dice >= min_dice)
        matched |= set(pairs.found) if is_found else set()
        rows.append(
            {
                "lesion_id": label,
                "diameter_mm": lesions.axial_diameter_mm(lesion, truth.spacing_mm),
                "volume_mm3": lesion.sum() * voxel_mm3,
                "dice": float(dice),
                "is_found": is_found,
                "score": float(scores[pairs.found].max()) if is_found else math.nan,
            }
        )
    columns = ["lesion_id", "diameter_mm", "volume_mm3", "dice", "is_found", "score"]
    candidates = pd.DataFrame(
        {
            "lesion_id": scores.index.astype(int),
            "score": scores.to_numpy(float),
            "is_false": [label not in matched for label in scores.index],
        }
    ).astype({"is_false": bool})
    return pd.DataFrame(rows, columns=columns).astype({"is_found": bool}), candidates


def _shared_voxels(found: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """One row per pair of a found and a true lesion that overlap: `found`, `true`, `voxels`."""
    both = (found > 0) & (truth > 0)
    pairs = np.stack([found[both].astype(np.int64), truth[both].astype(np.int64)], axis=1)  # [N, 2]
    labels, counts = np.unique(pairs, axis=0, return_counts=True)
    return pd.DataFrame({"found": labels[:, 0], "true": labels[:, 1], "voxels": counts})

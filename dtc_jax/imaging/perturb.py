"""Regions drawn a little differently: as another reader, or a segmenter, might have drawn them."""

import dataclasses

import edt
import numpy as np
from scipy import ndimage

from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume

_STEP_MM = 0.25  # of the grid on which distances are measured
_MOST_STEPS = 160  # along a side


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """How far a region is moved and its surface shifted: the distance is fixed, its way is drawn.

    Every region is then perturbed equally. Drawn between nothing and a limit of less than a voxel,
    half of the regions would stay as they are, and the figures be those of a mixture.

    Attributes:
      shift_mm: by which the region moves, in a random direction.
      grow_mm: by which its surface moves, outwards or inwards at random.
    """

    shift_mm: float = 0.4
    grow_mm: float = 0.3

    def __post_init__(self):
        if not (self.shift_mm >= 0 and self.grow_mm >= 0):
            raise UsageError(f"{self}: both lengths must be 0 or more.")

    @property
    def reach_mm(self) -> float:
        """How far a perturbed region reaches beyond the region, at most."""
        return self.shift_mm + self.grow_mm

    def margin(self, spacing_mm: np.ndarray) -> np.ndarray:
        """Voxels about a region's box in which the perturbed region lies. # [3] -> [3]"""
        return np.ceil(self.reach_mm / spacing_mm).astype(int) + 1


def perturbed(mask: Volume, spec: Perturbation, rng: np.random.Generator) -> Volume:
    """Moves one region, which has grown or shrunk, by less than a voxel as well.

    Args:
      mask: bool, not empty.
      spec: how much.
      rng: draws the direction, and whether it grows; its seed is the caller's.

    Returns:
      bool on the same grid, never empty: of a region that would vanish its innermost voxels stay,
      and of one that would leave the grid those that come to lie nearest to its edge.
    """
    direction = rng.normal(size=3)
    shift_mm = spec.shift_mm * direction / np.linalg.norm(direction)
    grow_mm = spec.grow_mm * rng.choice((-1, 1))
    depth_mm = _depth_mm(mask, spec.reach_mm)
    margin = spec.margin(mask.spacing_mm)
    box = lesions.padded(lesions.bounding_box(mask.array), margin, mask.shape)
    step_mm = depth_mm.spacing_mm
    corner = depth_mm.index(mask.world([side.start for side in box])) - shift_mm / step_mm
    sampled = ndimage.affine_transform(
        depth_mm.array,
        mask.spacing_mm / step_mm,
        corner,
        output_shape=tuple(side.stop - side.start for side in box),
        order=1,
        mode="nearest",
    )
    array = np.zeros(mask.shape, bool)
    array[box] = sampled > min(-grow_mm, sampled.max() - 1e-6)
    return Volume(array, mask.affine)


def _depth_mm(mask: Volume, reach_mm: float) -> Volume:
    """Distance from a region's surface, positive inside, on a fine grid that reaches beyond it.

    The voxels of the mask lie at few distances from its surface, so that on their own grid a small
    shift would move none of them, and a larger one all.
    """
    inside = lesions.bounding_box(mask.array)
    side_mm = np.array([side.stop - side.start for side in inside]) * mask.spacing_mm
    side_mm = side_mm + 2 * (reach_mm + mask.spacing_mm)
    step_mm = max(_STEP_MM, float(side_mm.max()) / _MOST_STEPS)
    size = np.ceil(side_mm / step_mm).astype(int)
    depth, height, width = (int(n) for n in size)
    center_mm = lesions.box_center_mm(mask)
    fine, _ = lesions.cut(mask, center_mm, (depth, height, width), step_mm, kind="mask")
    region = fine.array.copy()
    region[tuple((size - 1) // 2)] |= not region.any()  # of a region thinner than the steps
    within, outside = (np.asarray(edt.edt(part), float) for part in (region, ~region))
    steps = np.where(region, within - 0.5, 0.5 - outside)
    return Volume(steps * step_mm, fine.affine)

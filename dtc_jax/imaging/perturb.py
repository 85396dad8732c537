"""Small random changes of a region, like the differences between readers or segmenters."""

import dataclasses
import math

import edt
import numpy as np
from scipy import ndimage

from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume

_STEP_MM = 0.25  # of the grid on which distances are measured
_MAX_STEPS = 160  # along a side


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """How far a region and its surface move: fixed distances in random directions.

    Every region is then perturbed equally. With random distances below a voxel, half of the regions
    would not change, and the figures would describe a mixture.

    Attributes:
      shift_mm: distance by which the region moves, in a random direction.
      grow_mm: distance by which its surface moves, outward or inward at random.
    """

    shift_mm: float = 0.4
    grow_mm: float = 0.3

    def __post_init__(self):
        if not all(0 <= length < math.inf for length in dataclasses.astuple(self)):
            raise UsageError(f"{self}: both lengths must be finite and at least 0.")

    @property
    def reach_mm(self) -> float:
        """Maximum distance of a perturbed region beyond the original one."""
        return self.shift_mm + self.grow_mm

    def margin(self, spacing_mm: np.ndarray) -> np.ndarray:
        """Voxels around the box of a region that contain the perturbed region. # [3] -> [3]"""
        return np.ceil(self.reach_mm / spacing_mm).astype(int) + 1


def perturbed(mask: Volume, spec: Perturbation, rng: np.random.Generator) -> Volume:
    """Moves and grows or shrinks a region, also by less than a voxel.

    Args:
      mask: bool, not empty.
      spec: the distances.
      rng: draws the direction, and whether the region grows or shrinks.

    Returns:
      bool on the same grid, never empty: a region that would vanish keeps its innermost voxels,
      and one that would leave the grid keeps those closest to the edge.
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
    """Distance from the surface of a region, positive inside, on a fine and larger grid.

    The voxels of the mask have only a few different distances from its surface: on their own grid a
    small shift would change no voxel, and a larger one all of them.
    """
    inside = lesions.bounding_box(mask.array)
    side_mm = np.array([side.stop - side.start for side in inside]) * mask.spacing_mm
    side_mm = side_mm + 2 * (reach_mm + mask.spacing_mm)
    step_mm = max(_STEP_MM, float(side_mm.max()) / _MAX_STEPS)
    size = np.ceil(side_mm / step_mm).astype(int)
    depth, height, width = (int(n) for n in size)
    center_mm = lesions.box_center_mm(mask)
    fine, _ = lesions.cut(mask, center_mm, (depth, height, width), step_mm, kind="mask")
    region = fine.array.copy()
    region[tuple((size - 1) // 2)] |= not region.any()  # if the region is thinner than a step
    within, outside = (np.asarray(edt.edt(part), float) for part in (region, ~region))
    steps = np.where(region, within - 0.5, 0.5 - outside)
    return Volume(steps * step_mm, fine.affine)

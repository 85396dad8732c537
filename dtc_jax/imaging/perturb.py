"""Regions drawn a little differently: as another reader, or a segmenter, might have drawn them."""

import dataclasses

import edt
import numpy as np

from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """How far a region may be moved and its surface shifted.

    Attributes:
      shift_mm: largest shift of the region along each axis, either way.
      grow_mm: largest distance by which its surface moves outwards, or inwards.
    """

    shift_mm: float = 0.6
    grow_mm: float = 0.8

    def __post_init__(self):
        if not (self.shift_mm >= 0 and self.grow_mm >= 0):
            raise UsageError(f"{self}: both lengths must be 0 or more.")


def perturbed(mask: Volume, spec: Perturbation, rng: np.random.Generator) -> Volume:
    """Moves one region by whole voxels, after it has grown or shrunk by a distance.

    Args:
      mask: bool, not empty.
      spec: how much, at most; what is drawn is uniform.
      rng: a seed is the caller's.

    Returns:
      bool on the same grid, never empty: of a region that would vanish, its innermost voxels stay,
      and one that would leave the grid stays where it is.
    """
    shift = rng.uniform(-spec.shift_mm, spec.shift_mm, 3) / mask.spacing_mm
    grow_mm = rng.uniform(-spec.grow_mm, spec.grow_mm)
    margin = (np.ceil(spec.grow_mm / mask.spacing_mm) + 1).astype(int)  # [3]
    box = tuple(
        slice(max(0, side.start - m), min(n, side.stop + m))
        for side, m, n in zip(lesions.bounding_box(mask.array), margin, mask.shape, strict=True)
    )
    depth_mm = _depth_mm(mask.array[box], mask.spacing_mm)
    inside = np.argwhere(depth_mm > min(-grow_mm, depth_mm.max() - 1e-6)) + [s.start for s in box]
    moved = inside + np.rint(shift).astype(int)
    moved = moved[((moved >= 0) & (moved < mask.shape)).all(axis=1)]
    array = np.zeros(mask.shape, bool)
    array[tuple((moved if len(moved) else inside).T)] = True
    return Volume(array, mask.affine)


def _depth_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Signed distance from the surface, positive inside; the surface is between two voxels."""
    inside, outside = (
        np.asarray(edt.edt(part, anisotropy=tuple(spacing_mm)), float) for part in (mask, ~mask)
    )
    half = float(min(spacing_mm)) / 2
    return np.where(mask, inside - half, half - outside)

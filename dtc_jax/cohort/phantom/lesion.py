"""A lesion of a phantom: its shape is independent of the class, its appearance depends on it."""

import dataclasses

import numpy as np
from scipy import ndimage, special

from dtc_jax.cohort.phantom.grid import Axes, Block
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume

_MARGIN_MM = 7.0  # for halo and spicules around a shape
_FITS = 5
_GRAIN_MM = 0.8  # standard deviation of the texture's kernel


@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of a lesion on a small grid.

    Attributes:
      depth_mm: approximate depth of a voxel inside the lesion, negative outside. # [D, H, W]
      offset_mm: coordinates relative to the centre of the lesion, for broadcasting.
      radius_mm: of the smallest ball around the centre that contains the mask.
      diameter_mm: largest axial diameter of the mask, as measured by `imaging.lesions`.
    """

    depth_mm: np.ndarray
    offset_mm: Axes
    radius_mm: float
    diameter_mm: float

    @property
    def mask(self) -> np.ndarray:
        """Voxels that the lesion fills by half or more. # [D, H, W]"""
        return self.depth_mm >= 0

    def part(self, block: Block) -> "Shape":
        """The same lesion on a block of its grid."""
        z, y, x = self.offset_mm
        offset_mm = z[block[0]], y[:, block[1]], x[:, :, block[2]]
        return dataclasses.replace(self, depth_mm=self.depth_mm[block], offset_mm=offset_mm)


def shape(
    diameter_mm: float, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> Shape:
    """Draws a lobulated ellipsoid with a mask of `diameter_mm`, as precisely as voxels allow.

    Args:
      diameter_mm: the long axis in the axial plane.
      spacing_mm: of the scan's voxels, z, y, x.
      rng: of the lesion.
    """
    spacing = np.array(spacing_mm)
    half = np.ceil((0.8 * diameter_mm + _MARGIN_MM) / spacing).astype(int)
    middle = rng.uniform(-0.5, 0.5, 3) * spacing  # the centre is anywhere within its voxel
    offset = np.ix_(*[np.arange(-n, n + 1) * s for n, s in zip(half, spacing, strict=True)])
    z, y, x = offset = tuple(o - m for o, m in zip(offset, middle, strict=True))
    distance = np.sqrt(sum(o**2 for o in offset))  # [D, H, W]
    safe = np.maximum(distance, 1e-6)
    sides = rng.uniform(0.75, 1.0, 3)
    reach = 1 / np.sqrt(sum((o / safe / side) ** 2 for o, side in zip(offset, sides, strict=True)))
    for bump in rng.normal(0, 0.1, 5):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        cosine = sum(o * t for o, t in zip(offset, direction, strict=True)) / safe
        reach *= 1 + bump * np.exp(4 * (cosine - 1))
    candidates = []
    scale = diameter_mm / 2
    for _ in range(_FITS):
        depth = reach * scale - distance
        depth[tuple(half)] = max(depth[tuple(half)], 0.0)  # thick slices may miss a small lesion
        grid = Volume(depth >= 0, np.diag([*spacing, 1.0]))
        measured_mm = lesions.measure(grid, grid).diameter_mm
        candidates.append(Shape(depth, (z, y, x), float(distance[depth >= 0].max()), measured_mm))
        scale *= (diameter_mm / measured_mm) ** 0.8
    return min(candidates, key=lambda shape: abs(shape.diameter_mm - diameter_mm))


def render(
    hu: np.ndarray,
    form: Shape,
    score: float,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """The surroundings `hu` with the lesion in them. # [D, H, W] -> [D, H, W]

    With the score the lesion gets less dense (60 HU a unit), more heterogeneous (12 to 150 HU,
    about a mean that stays), softer at its border, and spiculated beyond its mask.

    What physics takes away afterwards: above 8 mm next to nothing. At 3 to 5 mm the mask has 5 to
    60 voxels, mostly border: its grain is blurred away and its density mixes with the lung's.
    Measured with the defaults on 449 lesions, out of fold: logistic regression on six statistics of
    HU in and about the mask and on its size had AUC .96 at 8 to 12 mm, .95 beyond, .89 to .93 in
    three groups below, .936 in all, where the score itself had .948. Size alone had .49.

    Args:
      hu: background around the lesion.
      form: its shape.
      score: latent score, 0 midway between the classes.
      spacing_mm: along z, y, x.
      rng: draws grain and spicules.
    """
    share = special.expit(score)
    mask = form.mask
    radius = form.diameter_mm / 2
    softness = 0.2 + share * min(1.2, 0.3 * radius)
    cover = special.expit(form.depth_mm / softness)
    length = min(1.2 * radius, _MARGIN_MM - 1)
    beyond = np.sqrt(np.clip(1 + form.depth_mm / length, 0, 1)) * share
    for _ in range(rng.integers(6, 12)):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        along = sum(o * t for o, t in zip(form.offset_mm, direction, strict=True))
        away = sum(o**2 for o in form.offset_mm) - along**2  # squared distance to the spicule
        ray = np.where(along > 0, np.exp(-away / (2 * 0.7**2)), 0) * beyond
        cover = np.maximum(cover, np.minimum(ray, 1))
    grain = ndimage.gaussian_filter(rng.standard_normal(hu.shape), _GRAIN_MM / np.array(spacing_mm))
    grain = (grain - grain[mask].mean()) / (grain[mask].std() + 1e-6)
    inside = np.clip(-80 - 60 * score, -600, 250) + (12 + 140 * share) * np.clip(grain, -3, 3)
    return hu + (inside - hu) * cover

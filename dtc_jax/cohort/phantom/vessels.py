"""The vessels of a phantom's lungs: trees of tapering tubes that branch from the hila."""

import numpy as np

from dtc_jax.cohort.phantom.grid import Grid

_MAX_MM, _MIN_MM = 2.6, 0.45  # radii; the first for the default field of view
_TREES = 7  # per lung
_BLOOD_HU, _LUNG_HU = 45.0, -890.0  # the latter below any lung, so that tubes only brighten


def draw(hu: np.ndarray, lung: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """Draws vessels into `hu`. # [Z, Y, X]

    Args:
      hu: changed in place.
      lung: depth inside a lung in mm, negative outside. # [Z, Y, X]
      grid: of both.
      rng: draws their directions.
    """
    tall, deep, wide = (side / 2 for side in grid.fov_mm)
    for side in (-1, 1):
        hilum = np.array([0.05 * tall, -0.05 * deep, side * 0.2 * wide])
        for turn in rng.permutation(_TREES) / _TREES * 2 * np.pi:
            toward = np.array([1.2 * np.cos(turn), np.sin(turn), 0.9 * side])
            toward += 0.2 * rng.normal(size=3)
            _tube(hu, lung, grid, hilum, _unit(toward), _MAX_MM * wide / 100, rng)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _tube(
    hu: np.ndarray,
    lung: np.ndarray,
    grid: Grid,
    start: np.ndarray,
    toward: np.ndarray,
    radius_mm: float,
    rng: np.random.Generator,
) -> None:
    """A tube from `start` with its branches, until they are too thin or leave the lung."""
    along = toward * radius_mm * rng.uniform(5, 9)
    end = start + along
    margin = radius_mm + 1
    block = grid.block(np.minimum(start, end) - margin, np.maximum(start, end) + margin)
    z, y, x = (axis - o for axis, o in zip(grid.axes(block), start.tolist(), strict=True))
    dz, dy, dx = along.tolist()
    share = np.clip((z * dz + y * dy + x * dx) / float(along @ along), 0, 1)
    distance = np.sqrt((z - share * dz) ** 2 + (y - share * dy) ** 2 + (x - share * dx) ** 2)
    cover = np.clip((radius_mm * (1 - 0.15 * share) - distance) / 0.8 + 0.5, 0, 1)
    hu[block] = np.maximum(hu[block], _LUNG_HU + (_BLOOD_HU - _LUNG_HU) * cover)
    near_border = lung[grid.voxel(end)] < 1.5
    if near_border and lung[grid.voxel(start)] > 0:  # the hilum itself is outside the lung
        return
    for _ in range(2):
        thinner = radius_mm * rng.uniform(0.68, 0.86)
        if thinner > _MIN_MM:
            _tube(hu, lung, grid, end, _unit(toward + 0.45 * rng.normal(size=3)), thinner, rng)

"""The voxel grid of a phantom."""

import dataclasses

import numpy as np

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]  # [Z, 1, 1], [1, Y, 1], [1, 1, X]
Block = tuple[slice, slice, slice]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Voxel centres in mm relative to the middle of the field of view.

    Attributes:
      shape: voxels along z, y, x.
      spacing_mm: along z, y, x.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def fov_mm(self) -> tuple[float, float, float]:
        """Sides of the field of view along z, y, x."""
        z, y, x = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return z, y, x

    def axes(self, block: Block = (slice(None),) * 3) -> Axes:
        """Coordinates of the voxels of a block in mm, float32, for broadcasting."""
        z, y, x = (
            ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * s)[part]
            for n, s, part in zip(self.shape, self.spacing_mm, block, strict=True)
        )
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def voxel(self, point_mm: np.ndarray) -> tuple[int, int, int]:
        """The voxel of the grid nearest to a point."""
        z, y, x = (
            min(max(round(p / s + (n - 1) / 2), 0), n - 1)
            for p, n, s in zip(point_mm.tolist(), self.shape, self.spacing_mm, strict=True)
        )
        return z, y, x

    def block(self, low_mm: np.ndarray, high_mm: np.ndarray) -> Block:
        """The voxels from one corner to the other; never empty.

        Args:
          low_mm: one corner, z, y, x from the middle of the scan.
          high_mm: the opposite one.
        """
        first, last = self.voxel(low_mm), self.voxel(high_mm)
        z, y, x = (slice(a, b + 1) for a, b in zip(first, last, strict=True))
        return z, y, x

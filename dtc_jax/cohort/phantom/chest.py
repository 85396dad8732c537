"""The thorax of a phantom: body, ribs, spine, mediastinum and two lungs, in HU."""

import numpy as np

from dtc_jax.cohort.phantom import vessels
from dtc_jax.cohort.phantom.grid import Grid

_AIR_HU, _LUNG_HU, _FAT_HU, _SOFT_HU = -1000.0, -850.0, -95.0, 45.0
_DISC_HU, _CORD_HU, _SPONGY_HU, _CORTEX_HU, _RIB_HU = 80.0, 20.0, 180.0, 480.0, 375.0


def draw(grid: Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a thorax without the effects of a scanner.

    Args:
      grid: voxels of the scan.
      rng: of the patient.

    Returns:
      HU, and a lower bound of the depth of a voxel inside a lung in mm, negative outside. Both
      float32. # [Z, Y, X], [Z, Y, X]
    """
    body = _Body(grid, rng)
    body.wall()
    lung = body.lungs()
    body.spine()
    # The spine and the aorta bulge into the lungs.
    lung = np.where(body.hu > -500, np.minimum(lung, 0), lung)
    vessels.draw(body.hu, lung, grid, rng)
    return body.hu, lung


class _Body:
    """HU of a thorax, drawn from the outside in."""

    def __init__(self, grid: Grid, rng: np.random.Generator):
        self.grid = grid
        self.z, self.y, self.x = grid.axes()
        self.tall, self.deep, self.wide = (side / 2 for side in grid.fov_mm)
        self.unit = self.wide / 100  # 1 for the default field of view
        self.edge_mm = max(grid.spacing_mm[1:])  # width of smoothed borders
        self.size, self.fat, self.heart, self.dome = rng.uniform(0.92, 1.0, 4).tolist()
        self.rib_phase = rng.uniform(0, 1)
        high, wide = 0.95 * self.deep * self.size, 0.97 * self.wide * self.size
        self.skin = self.ellipse(0, 0, high, wide, power=2.4)  # [1, Y, X]
        self.hu = np.full(grid.shape, _AIR_HU, np.float32)  # [Z, Y, X]

    def inside(self, depth_mm: np.ndarray) -> np.ndarray:
        """Filled share of a voxel at this depth below a surface."""
        return np.clip(depth_mm / self.edge_mm + 0.5, 0, 1)

    def ellipse(self, y: float, x: float, high: float, wide: float, power: float = 2) -> np.ndarray:
        """Depth in mm in an axial (super)ellipse about (y, x) with these radii. # [1, Y, X]"""
        rho = np.abs((self.y - y) / high) ** power + np.abs((self.x - x) / wide) ** power
        return (1 - rho ** (1 / power)) * min(high, wide)

    def paint(self, depth_mm: np.ndarray, hu: np.ndarray | float) -> None:
        """Fills a shape; `depth_mm` and `hu` broadcast to [Z, Y, X]."""
        ys, xs = (np.flatnonzero((depth_mm > -self.edge_mm).any(axis=(0, a))) for a in (2, 1))
        box = (slice(None), slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1))
        value = np.broadcast_to(np.float32(hu), self.grid.shape)[box]
        self.hu[box] += (value - self.hu[box]) * self.inside(depth_mm[box])

    def wall(self) -> None:
        """Fat, muscle, ribs and sternum, and the fat between the lungs."""
        self.paint(self.skin, _FAT_HU)
        self.paint(self.skin - 7 * self.unit * self.fat, _SOFT_HU)
        self.paint(self.ellipse(0.05 * self.deep, 0, 0.45 * self.deep, 0.2 * self.wide), _FAT_HU)
        cage = self.ellipse(0, 0, 0.8 * self.deep, 0.87 * self.wide, 2.4)
        ring = self.inside(3 * self.unit - np.abs(cage))  # [1, Y, X]
        # Ribs slope down toward the front, where they end in cartilage.
        phase = (self.z + 0.6 * self.y) / (17 * self.unit) + self.rib_phase
        rib = np.clip(1.6 - 6 * np.abs(phase - np.round(phase)), 0, 1)  # [Z, Y, 1]
        rib *= np.clip((0.6 - self.y / self.deep) / 0.2, 0, 1)
        self.hu += (_RIB_HU - _SOFT_HU) * rib * ring
        sternum = self.ellipse(0.82 * self.deep, 0, 5 * self.unit, 14 * self.unit)
        self.paint(sternum, _SPONGY_HU)

    def lungs(self) -> np.ndarray:
        """Both lungs, the heart and the trachea. Returns the depth in the lungs. # [Z, Y, X]"""
        half = self.grid.shape[2] // 2
        left, right = self._lung(-1, self.x[..., :half]), self._lung(1, self.x[..., half:])
        lung = np.concatenate([left, right], axis=2)
        radii = [0.45 * self.tall, 0.36 * self.deep, 0.3 * self.wide]
        rho = ((self.z + 0.15 * self.tall) / (radii[0] * self.heart)) ** 2
        rho = rho + ((self.y - 0.22 * self.deep) / (radii[1] * self.heart)) ** 2
        rho = rho + ((self.x + 0.12 * self.wide) / (radii[2] * self.heart)) ** 2
        heart = (1 - np.sqrt(rho)) * (min(radii) * self.heart)
        lung = np.minimum(lung, -heart)
        self.paint(heart, _SOFT_HU)
        self.paint(lung, _LUNG_HU - 20 * self.y / self.deep)  # the dependent lung is denser
        pipe = self.ellipse(-0.12 * self.deep, 0, 7 * self.unit, 7 * self.unit)
        self.paint(np.minimum(pipe, self.z - 0.15 * self.tall), _AIR_HU)
        return lung

    def _lung(self, side: int, x: np.ndarray) -> np.ndarray:
        """Depth in the lung of one side (-1: left), on its half of the grid. # [Z, Y, X/2]"""
        high, wide = 0.72 * self.deep, 0.33 * self.wide
        across = x - side * 0.46 * self.wide
        rho = np.abs(self.z / (0.98 * self.tall)) ** 3 + np.abs(self.y / high) ** 2.4
        rho = np.sqrt(rho + np.abs(across / wide) ** 2.4) ** 0.8
        off_axis = (self.y / high) ** 2 + (across / wide) ** 2  # [1, Y, X/2]
        dome = (0.42 if side > 0 else 0.34) * self.dome  # the liver raises the right one
        diaphragm = self.z - (-0.85 + dome * (1 - off_axis)) * self.tall
        return np.minimum((1 - rho) * wide, 0.55 * diaphragm)  # the slope of the dome is up to 1.5

    def spine(self) -> None:
        """Vertebrae and discs, spinal cord and canal, a spinous process, and the aorta."""
        unit, back = self.unit, -0.46 * self.deep
        vertebra = self.ellipse(back, 0, 11 * unit, 14 * unit)
        bone = _SPONGY_HU + (_CORTEX_HU - _SPONGY_HU) * self.inside(2 * unit - vertebra)
        height = np.abs((self.z / (22 * unit)) % 1 - 0.5)  # 0 in the middle of a disc
        disc = np.clip(3 - 22 * height, 0, 1)  # [Z, 1, 1]
        self.paint(vertebra, bone + (_DISC_HU - bone) * disc)
        process = self.ellipse(back - 29 * unit, 0, 8 * unit, 2.5 * unit)
        self.paint(np.minimum(process, self.skin - 4 * unit), _RIB_HU)
        canal = self.ellipse(back - 17 * unit, 0, 8 * unit, 8 * unit)
        self.paint(canal + 3 * unit, _CORTEX_HU)
        self.paint(canal, _CORD_HU)
        self.paint(self.ellipse(back + 14 * unit, -15 * unit, 9 * unit, 9 * unit), _SOFT_HU)

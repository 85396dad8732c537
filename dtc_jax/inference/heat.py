"""The heat map of a lesion on the grid of its scan."""

import numpy as np

from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume


def on_scan(heat: np.ndarray, center_mm: np.ndarray, spacing_mm: float, scan: Volume) -> Volume:
    """Lays the heat map of a lesion's crop over its scan.

    Args:
      heat: [D, H, W].
      center_mm: world coordinates of the middle of the crop. # [3]
      spacing_mm: of the crop's grid.
      scan: along whose axes the crop was cut.

    Returns:
      float32 on the grid of the scan, 0 outside the crop.
    """
    affine = scan.affine.copy()
    affine[:3, :3] *= spacing_mm / scan.spacing_mm
    affine[:3, 3] = center_mm - affine[:3, :3] @ ((np.array(heat.shape) - 1) / 2)
    blank = Volume(np.zeros(scan.shape, np.float32), scan.affine)
    return lesions.paste(Volume(heat, affine), blank)

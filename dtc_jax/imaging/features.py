"""Hand-crafted features of the size, shape and HU of a lesion, as a baseline for networks.

They are computed on the stored crop (1 mm), so all compared models use the same voxels.
"""

import numpy as np
from scipy import ndimage, stats

from dtc_jax.imaging import lesions

FEATURES = {
    "log_volume": "natural logarithm of the mask's volume in mm3",
    "diameter_mm": "largest axial diameter of the mask",
    "extent_z_mm": "side of the mask's box along z",
    "extent_y_mm": "side of the mask's box along y",
    "extent_x_mm": "side of the mask's box along x",
    "axis_major_mm": "standard deviation of the mask's voxels along their first principal axis",
    "axis_middle_mm": "the same, second axis",
    "axis_minor_mm": "the same, third axis",
    "surface_ratio": "surface voxels / volume^(2/3): irregularity of the margin",
    "hu_mean": "mean HU inside the mask",
    "hu_sd": "standard deviation of HU inside the mask",
    "hu_max": "largest HU inside the mask",
    "hu_p10": "10th percentile of HU inside the mask",
    "hu_p50": "median HU inside the mask",
    "hu_p90": "90th percentile of HU inside the mask",
    "hu_skewness": "skewness of HU inside the mask",
    "calcified_share": "share of the mask above 200 HU",
    "solid_share": "share of the mask above -300 HU",
    "surface_hu": "mean HU of the mask's outermost voxels",
    "rim_hu": "mean HU of the voxels that touch the mask from outside, within the scan",
}


def features(image: np.ndarray, mask: np.ndarray, extent: np.ndarray | None = None) -> np.ndarray:
    """The features of one lesion, in the order of `FEATURES`.

    Args:
      image: [D, H, W] HU at 1 mm.
      mask: [D, H, W], not empty.
      extent: [3, 2]; range of indices inside the scan, so that no padding is measured.

    Returns:
      [F] float64.
    """
    mask = np.asarray(mask) > 0
    hu = np.asarray(image, np.float64)
    inside = hu[mask]
    voxels = np.argwhere(mask).astype(np.float64)  # [N, 3]
    sides = np.ptp(voxels, axis=0) + 1.0
    # 1/12 is the variance within a voxel; with it, lesions of one voxel are defined.
    spread = np.cov(voxels.T, bias=True) + np.eye(3) / 12.0
    axes = np.sqrt(np.linalg.eigvalsh(spread)[::-1])
    surface = mask & ~ndimage.binary_erosion(mask)
    rim = ndimage.binary_dilation(mask) & ~mask
    if extent is not None:
        within = np.zeros_like(mask)
        within[tuple(slice(start, stop) for start, stop in extent)] = True
        rim &= within
    has_spread = inside.size > 2 and np.ptp(inside) > 1e-6
    return np.array(
        [
            np.log(inside.size),
            lesions.axial_diameter_mm(mask, np.ones(3)),
            *sides,
            *axes,
            surface.sum() / inside.size ** (2 / 3),
            inside.mean(),
            inside.std(),
            inside.max(),
            *np.percentile(inside, [10, 50, 90]),
            stats.skew(inside) if has_spread else 0.0,
            np.mean(inside > 200),
            np.mean(inside > -300),
            hu[surface].mean(),
            hu[rim].mean() if rim.any() else hu[surface].mean(),
        ]
    )

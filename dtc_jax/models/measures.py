"""Size, margin and density of a lesion, computed from what the network sees.

They follow `imaging.features` as far as that needs neither sorting nor a hull, so that they go into
every exported graph; surface and rim are those of a cube of 3 x 3 x 3. `xp` is `numpy`, `jax.numpy`
or what stands for it in a graph. Each measure is shifted and scaled by fixed numbers, for lesions
of 4 to 30 mm at 1 mm in a lung window, so that the layer above it starts from about -2 to 2.
"""

from typing import Any

import numpy as np

_SHARES = 8  # densities between the ends of the window
_ALL = (1, 2, 3)
_NOTHING = 1e-6  # voxels: an empty mask divides by it

# Name -> what is subtracted, and what it is then divided by.
_SCALES = {
    "log_volume": (6.0, 1.5),
    **{f"log_spread_{axis}": (1.5, 1.0) for axis in "zyx"},
    **{f"log_extent_{axis}": (2.3, 0.5) for axis in "zyx"},
    "log_surface": (5.0, 1.2),
    "mean": (0.6, 0.15),
    "deviation": (0.1, 0.05),
    "skewness": (-0.5, 0.7),
    "largest": (0.8, 0.2),
    "surface_mean": (0.5, 0.15),
    "rim_mean": (0.3, 0.12),
    **{f"share_{number}": (0.12, 0.15) for number in range(_SHARES)},
}
NAMES = tuple(_SCALES)


def measures(image: Any, mask: Any, xp: Any) -> Any:
    """The measures of each lesion in the order of `NAMES`, scaled.

    Args:
      image: [B, D, H, W], the window as 0 to 1.
      mask: [B, D, H, W] in [0, 1], soft where it was interpolated.
      xp: numpy, jax.numpy or `export.graph.ArrayNamespace`.

    Returns:
      [B, 1, 1, 1, F]. Lengths are in voxels. Those of an empty mask are finite.
    """
    surface = _surface(mask, xp)
    values = _sizes(mask, surface, xp) | _densities(image, mask, surface, xp)
    scaled = [(values[name] - centre) / scale for name, (centre, scale) in _SCALES.items()]
    return xp.stack(scaled, axis=-1)


def _sizes(mask: Any, surface: Any, xp: Any) -> dict[str, Any]:
    volume = xp.sum(mask, axis=_ALL, keepdims=True) + _NOTHING  # [B, 1, 1, 1]
    sizes = {"log_volume": xp.log(volume + 1.0)}
    for axis, name in zip(_ALL, "zyx", strict=True):
        others = tuple(other for other in _ALL if other != axis)
        shape = [1, 1, 1, 1]
        shape[axis] = mask.shape[axis - mask.ndim]
        position = np.arange(max(shape), dtype=np.float32).reshape(shape)
        profile = xp.sum(mask, axis=others, keepdims=True)  # [B, D, 1, 1]
        middle = xp.sum(profile * position, axis=_ALL, keepdims=True) / volume
        away = middle - position
        spread = xp.sum(profile * away * away, axis=_ALL, keepdims=True) / volume
        sizes[f"log_spread_{name}"] = xp.log(spread + 1 / 12)  # the variance within a voxel
        extent = xp.sum(xp.max(mask, axis=others, keepdims=True), axis=_ALL, keepdims=True)
        sizes[f"log_extent_{name}"] = xp.log(extent + 1.0)
    return sizes | {"log_surface": xp.log(xp.sum(surface, axis=_ALL, keepdims=True) + 1.0)}


def _densities(image: Any, mask: Any, surface: Any, xp: Any) -> dict[str, Any]:
    def mean(values: Any, weights: Any) -> Any:
        total = xp.sum(weights, axis=_ALL, keepdims=True) + _NOTHING
        return xp.sum(values * weights, axis=_ALL, keepdims=True) / total

    middle = mean(image, mask)
    away = image - middle
    deviation = xp.sqrt(mean(away * away, mask) + 1e-4)
    result = {
        "mean": middle,
        "deviation": deviation,
        "skewness": mean(away * away * away, mask) / (deviation * deviation * deviation),
        "largest": xp.max(image * mask, axis=_ALL, keepdims=True),
        "surface_mean": mean(image, surface),
        "rim_mean": mean(image, _widened(mask, xp) - mask),
    }
    for number in range(_SHARES):
        steps = xp.abs(image * (_SHARES - 1.0) - float(number))  # from this density, in bins
        result[f"share_{number}"] = mean(xp.maximum(steps * -1.0 + 1.0, 0.0), mask)
    return result


def _surface(mask: Any, xp: Any) -> Any:
    """The outermost voxels of the mask: all that a cube of three sides takes away."""
    return _widened(mask * -1.0 + 1.0, xp) + mask - 1.0


def _widened(mask: Any, xp: Any) -> Any:
    """The largest value of the cube of 3 x 3 x 3 about each voxel; the border repeats itself."""
    for axis in (-3, -2, -1):
        size = mask.shape[axis]
        ends = [np.clip(np.arange(size) + step, 0, size - 1) for step in (-1, 1)]
        before, after = (xp.take(mask, end, axis=axis) for end in ends)
        mask = xp.maximum(mask, xp.maximum(before, after))
    return mask

"""How the same tissue looks on another scanner: kernel, contrast, brightness, noise; and cutout.

Each function changes the HU of one crop on the network's grid.
"""

import jax
import jax.numpy as jnp
import numpy as np

_AIR_HU = -1000.0
_SHARPENED_MM = 1.0  # deviation of the Gaussian whose loss a sharper kernel makes good
_SMALLEST_SIGMA = 0.1  # voxels; the weight of the next voxel is then 2e-22


def kernel(
    draw: jax.Array, hu: jax.Array, softer_mm: float, sharper: float, spacing_mm: float
) -> jax.Array:
    """HU as by a softer or a sharper reconstruction kernel, within the axial plane. # [D, H, W]

    Args:
      draw: in [0, 1). Below one half the kernel is softer, above it is sharper, most so at the end.
      hu: [D, H, W].
      softer_mm: largest standard deviation of the Gaussian of a softer kernel.
      sharper: largest share of what a Gaussian of 1 mm takes away that a sharper one adds.
      spacing_mm: of the voxels.
    """
    either_way = 2.0 * draw - 1.0
    softness, sharpness = jnp.maximum(-either_way, 0.0), jnp.maximum(either_way, 0.0)
    if softer_mm > 0:
        hu = _smoothed(hu, softness * softer_mm / spacing_mm)
    if sharper > 0:
        hu += sharpness * sharper * (hu - _smoothed(hu, jnp.float32(_SHARPENED_MM / spacing_mm)))
    return hu


def _smoothed(hu: jax.Array, sigma: jax.Array) -> jax.Array:
    """Gaussian smoothing along y and x; at the edges over the voxels that there are. # [D, H, W]"""
    sigma = jnp.maximum(sigma, _SMALLEST_SIGMA)
    rows, columns = (_gaussian(n, sigma) for n in hu.shape[1:])
    return jnp.einsum("hi,wj,dij->dhw", rows, columns, hu, precision="highest")


def _gaussian(n: int, sigma: jax.Array) -> jax.Array:
    away = np.arange(n)[:, None] - np.arange(n)[None]  # [n, n]
    weights = jnp.exp(-0.5 * (away / sigma) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def jitter(draws: jax.Array, hu: jax.Array, hu_scale: float, hu_shift: float) -> jax.Array:
    """Another contrast and brightness. # [D, H, W]

    Args:
      draws: in [0, 1), of the contrast and of the brightness. # [2]
      hu: [D, H, W].
      hu_scale: largest change of contrast, as a share of the distance from air.
      hu_shift: largest shift, either way, in HU.
    """
    contrast, brightness = 2.0 * draws - 1.0
    if hu_scale > 0:
        hu = (hu - _AIR_HU) * (1.0 + hu_scale * contrast) + _AIR_HU
    if hu_shift > 0:
        hu += hu_shift * brightness
    return hu


def noise(key: jax.Array, shape: tuple[int, ...], grain_mm: float, spacing_mm: float) -> jax.Array:
    """Gaussian noise, mean 0 and standard deviation 1, white or as of a CT. # [D, H, W]

    Filtered back-projection leaves noise with the power f * A(f)^2 at the frequency f in the plane
    (Riederer, Pelc and Chesler 1978): the ramp takes away what is coarse, the kernel A what is
    fine. Here A is a Gaussian. Slices are independent.

    Args:
      key: of the draw.
      shape: (D, H, W).
      grain_mm: standard deviation of the kernel; 0 is white noise.
      spacing_mm: of the voxels.
    """
    white = jax.random.normal(key, shape)
    if grain_mm == 0:
        return white
    rows, columns = (np.fft.fftfreq(n, spacing_mm) for n in shape[1:])  # cycles a mm
    frequency = np.hypot(rows[:, None], columns[None])  # [H, W]
    gain = np.sqrt(frequency) * np.exp(-2.0 * (np.pi * grain_mm * frequency) ** 2)
    gain /= np.sqrt(np.mean(gain**2))  # so that the variance is that of white noise
    half = gain[:, : shape[2] // 2 + 1].astype(np.float32)
    return jnp.fft.irfft2(jnp.fft.rfft2(white) * half[None], s=shape[1:])


def cutout(
    key: jax.Array, hu: jax.Array, chance: float, largest_mm: float, spacing_mm: float
) -> jax.Array:
    """Hides a box behind the mean of the crop (DeVries and Taylor 2017). # [D, H, W]

    Its sides are drawn one by one up to `largest_mm`, and are at least a voxel; its middle is drawn
    from the whole crop, so that a part of the box may lie outside.

    Args:
      key: of the draw.
      hu: [D, H, W].
      chance: probability of a box.
      largest_mm: largest side.
      spacing_mm: of the voxels.
    """
    drawn = jax.random.uniform(key, (7,))
    hidden = drawn[0] < chance
    for axis, n in enumerate(hu.shape):
        at = np.arange(n).reshape([n if a == axis else 1 for a in range(3)])
        side = jnp.maximum(drawn[1 + axis] * largest_mm / spacing_mm, 1.0)
        middle = drawn[4 + axis] * n - 0.5
        hidden &= jnp.abs(at - middle) <= side / 2
    return jnp.where(hidden, hu.mean(), hu)

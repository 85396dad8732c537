"""Augmentation of one example on the device, image and mask together, from its own random key.

A crop is sampled once, straight from the stored record to the network's grid: the identity gives
`imaging.preprocess.crop`. What lies beyond the visible part of the scan is its edge, since sampling
positions are clamped to it; so nothing is copied to hide where the scan ends.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dtc_jax.imaging.preprocess import Preprocess, sample_positions

_AIR_HU = -1000.0


def augment(
    key: jax.Array,
    image: jax.Array,
    mask: jax.Array,
    extent: jax.Array,
    spec: Preprocess,
    strength: Any,
) -> tuple[jax.Array, jax.Array]:
    """Draws one variant of an example. A strength of 0 costs nothing.

    Args:
      key: of this example and this step.
      image: [d, h, w] int16 HU at 1 mm.
      mask: [d, h, w] uint8.
      extent: [3, 2]; range [start, stop) of indices that lie inside the scan.
      spec: the network's grid.
      strength: flip (probability along z, y, x), rotate_deg (largest angle about z, y, x),
        shift_mm, scale (0.1: by a factor of up to exp(0.1) either way), hu_shift (HU), hu_scale
        (share of the distance from air), noise_hu (largest standard deviation), visible_extent
        (probability along each axis that the scan is taken to end anywhere between the lesion
        and its real end).

    Returns:
      HU and mask, both [D, H, W] float32; the mask is soft where it was interpolated.
    """
    keys = jax.random.split(key, 8)

    def uniform(i: int, limit: Any, shape: tuple[int, ...] = ()) -> jax.Array:
        limit = jnp.asarray(limit, jnp.float32)
        return limit * jax.random.uniform(keys[i], shape, minval=-1.0, maxval=1.0)

    image, mask = image.astype(jnp.float32), mask.astype(jnp.float32)
    sides = image.shape
    direction = jnp.ones(3)
    if any(strength.flip):
        flipped = jax.random.uniform(keys[0], (3,)) < jnp.asarray(strength.flip)
        direction = jnp.where(flipped, -1.0, 1.0)
    if strength.scale:
        direction = direction * jnp.exp(uniform(1, strength.scale))
    center = (jnp.asarray(sides, jnp.float32) - 1.0) / 2.0  # [3]
    if strength.shift_mm:
        center = center + uniform(2, strength.shift_mm, (3,))
    visible = _visible(keys[3], mask, extent, strength.visible_extent)  # [3, 2]

    # Distance of each output voxel from the middle of the crop, along each axis, in input voxels.
    offsets = [
        direction[axis] * jnp.asarray(sample_positions(1, n, spec.spacing_mm), jnp.float32)
        for axis, n in enumerate(spec.shape)
    ]
    if any(strength.rotate_deg):
        angles = jnp.deg2rad(uniform(4, strength.rotate_deg, (3,)))  # [3] about z, y, x
        if any(strength.rotate_deg[1:]):
            hu, region = _sample_rotated(image, mask, center, offsets, visible, angles)
        else:
            hu, region = _sample_axial(image, mask, center, offsets, visible, angles[0])
    else:
        positions = [center[axis] + offsets[axis] for axis in range(3)]
        hu = _sample_axes(image, [_clamp(p, visible[i]) for i, p in enumerate(positions)])
        region = _sample_axes(mask, positions)

    if strength.hu_scale:
        hu = (hu - _AIR_HU) * (1.0 + uniform(5, strength.hu_scale)) + _AIR_HU
    if strength.hu_shift:
        hu = hu + uniform(6, strength.hu_shift)
    if strength.noise_hu:
        level_key, noise_key = jax.random.split(keys[7])
        level = strength.noise_hu * jax.random.uniform(level_key)
        hu = hu + level * jax.random.normal(noise_key, hu.shape)
    return hu, region


def _visible(key: jax.Array, mask: jax.Array, extent: jax.Array, chance: float) -> jax.Array:
    """First and last visible index along each axis, never within the mask's box. # [3, 2]"""
    first, last = extent[:, 0].astype(jnp.float32), extent[:, 1].astype(jnp.float32) - 1.0
    if not chance:
        return jnp.stack([first, last], axis=1)
    box_first, box_last = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = mask.max(axis=others) > 0  # [n]
        n = mask.shape[axis]
        box_first.append(jnp.argmax(occupied))
        box_last.append(n - 1 - jnp.argmax(occupied[::-1]))
    coin, share = jax.random.split(key)
    chosen = jax.random.uniform(coin, (3,)) < chance
    draws = jax.random.uniform(share, (2, 3)) * chosen.astype(jnp.float32)[None, :]
    room_below = jnp.maximum(jnp.stack(box_first).astype(jnp.float32) - first, 0.0)
    room_above = jnp.maximum(last - jnp.stack(box_last).astype(jnp.float32), 0.0)
    return jnp.stack([first + draws[0] * room_below, last - draws[1] * room_above], axis=1)


def _clamp(position: jax.Array, limits: jax.Array) -> jax.Array:
    return jnp.clip(position, limits[0], limits[1])


def _hat(position: jax.Array, n: int) -> jax.Array:
    """Weights of linear interpolation on an axis of n voxels; 0 outside. # [m] -> [m, n]"""
    return jnp.maximum(0.0, 1.0 - jnp.abs(position[:, None] - jnp.arange(n)[None, :]))


def _sample_axes(x: jax.Array, positions: list[jax.Array]) -> jax.Array:
    """Samples where rows of the grid stay along the axes: three matrix products."""
    depth, height, width = (_hat(p, n) for p, n in zip(positions, x.shape, strict=True))
    x = jnp.einsum("zyx,Zz->Zyx", x, depth)
    x = jnp.einsum("zyx,Yy->zYx", x, height)
    return jnp.einsum("zyx,Xx->zyX", x, width)


def _sample_axial(
    image: jax.Array,
    mask: jax.Array,
    center: jax.Array,
    offsets: list[jax.Array],
    visible: jax.Array,
    angle: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Rotation about z: a matrix product along z, then four gathers of whole columns."""
    z = center[0] + offsets[0]  # [D]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    dy, dx = jnp.meshgrid(offsets[1], offsets[2], indexing="ij")  # [H, W]
    y, x = center[1] + cos * dy - sin * dx, center[2] + sin * dy + cos * dx

    def sample(volume: jax.Array, z: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
        _, h, w = volume.shape
        columns = jnp.einsum("zyx,Zz->yxZ", volume, _hat(z, volume.shape[0]))
        columns = columns.reshape(h * w, -1)  # [h * w, D]
        y0, x0 = jnp.floor(y), jnp.floor(x)
        total = jnp.zeros((*y.shape, columns.shape[1]))  # [H, W, D]
        for yi, wy in ((y0, 1.0 - (y - y0)), (y0 + 1.0, y - y0)):
            for xi, wx in ((x0, 1.0 - (x - x0)), (x0 + 1.0, x - x0)):
                within = (yi >= 0) & (yi < h) & (xi >= 0) & (xi < w)
                index = jnp.where(within, yi * w + xi, 0).astype(jnp.int32)
                total = total + (wy * wx * within)[..., None] * columns[index]
        return total.transpose(2, 0, 1)  # [D, H, W]

    hu = sample(image, _clamp(z, visible[0]), _clamp(y, visible[1]), _clamp(x, visible[2]))
    return hu, sample(mask, z, y, x)


def _sample_rotated(
    image: jax.Array,
    mask: jax.Array,
    center: jax.Array,
    offsets: list[jax.Array],
    visible: jax.Array,
    angles: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Rotation about all axes: trilinear interpolation at every voxel."""
    grid = jnp.stack(jnp.meshgrid(*offsets, indexing="ij"))  # [3, D, H, W]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    zero, one = jnp.zeros(()), jnp.ones(())
    about_z = jnp.stack([one, zero, zero, zero, cos[0], -sin[0], zero, sin[0], cos[0]])
    about_y = jnp.stack([cos[1], zero, sin[1], zero, one, zero, -sin[1], zero, cos[1]])
    about_x = jnp.stack([cos[2], -sin[2], zero, sin[2], cos[2], zero, zero, zero, one])
    rotation = about_z.reshape(3, 3) @ about_y.reshape(3, 3) @ about_x.reshape(3, 3)
    position = center[:, None, None, None] + jnp.einsum("ij,jzyx->izyx", rotation, grid)
    seen = jnp.stack([_clamp(position[axis], visible[axis]) for axis in range(3)])
    hu = jax.scipy.ndimage.map_coordinates(image, seen, order=1, mode="nearest")
    region = jax.scipy.ndimage.map_coordinates(mask, position, order=1, mode="constant")
    return hu, region

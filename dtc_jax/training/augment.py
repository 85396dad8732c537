"""Augmentation of one example on the device, image and mask together, from its own random key.

A crop is sampled once, straight from the stored record to the network's grid, whatever is switched
on: with nothing, it is `imaging.preprocess.crop`. What lies beyond the visible part of the scan is
its edge, since sampling positions are clamped to it; nothing is copied to hide where the scan ends.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dtc_jax.errors import UsageError, unknown_choice
from dtc_jax.imaging.preprocess import IGNORED, Preprocess, middle, offsets
from dtc_jax.training import appearance, elastic

Interpolation = Literal["linear", "sharp"]
_SHIFT = 0.21  # voxels, of shifted linear interpolation
_TAPS = 8  # of its filter; the rest weighs less than 1e-4
# Random numbers of an example, by use; a change draws other variants from the same seed.
_DRAWS = {"flip": 3, "zoom": 1, "angle": 3, "shift": 3, "ends": 3, "share": 6, "intensity": 3}


class Strength(Protocol):
    """How much of each change; plain numbers, 0 is off. Triples are in the order z, y, x.

    Attributes:
      flip: probability of mirroring along each axis.
      rotate_deg: largest angle about each axis, either way.
      shift_mm: largest shift along each axis, either way.
      scale: largest logarithm of the zoom: 0.1 is by a factor of up to exp(0.1) either way.
      resampled: share of the examples that are rotated, zoomed, elastically deformed and shifted by
        parts of a voxel. The others are flipped and shifted by whole voxels of the record, so that
        they are exactly as sharp as the crop that is predicted from: where the two grids agree, as
        the voxels themselves, which interpolation blurs.
      interpolation: of HU, 'linear', which blurs: of white noise 54 % of its standard deviation are
        left on average; or 'sharp', which leaves all of it on average, see `sharpened`.
      hu_shift: largest shift of all intensities, either way, in HU.
      hu_scale: largest change of contrast, as a share of the distance from air.
      noise_hu: largest standard deviation of Gaussian noise.
      noise_grain_mm: of the noise, see `appearance.noise`; 0 is white noise.
      softer_mm: largest blur by a softer kernel, see `appearance.kernel`.
      sharper: largest gain of a sharper one.
      elastic_mm: largest displacement of a control point, see `elastic.displacement`.
      cutout: probability that a box is hidden, see `appearance.cutout`.
      cutout_mm: its largest side.
      visible_extent: probability along each axis that the scan is taken to end anywhere between
        the lesion and its real end.
    """

    flip: Sequence[float]
    rotate_deg: Sequence[float]
    shift_mm: float
    scale: float
    resampled: float
    interpolation: Interpolation
    hu_shift: float
    hu_scale: float
    noise_hu: float
    visible_extent: Sequence[float]
    noise_grain_mm: float
    softer_mm: float
    sharper: float
    elastic_mm: float
    cutout: float
    cutout_mm: float


_COARSEST_MM = 5.0  # of `noise_grain_mm`
_NOT_NEGATIVE = (
    *("noise_grain_mm", "softer_mm", "sharper", "elastic_mm", "cutout", "cutout_mm"),
    "mixup",  # of a classifier, see `mixup`
)


def _value(strength: Strength, name: str) -> float:
    """The value of a field; 0 in runs that are older than the field."""
    return getattr(strength, name, 0.0)


def check(strength: Strength) -> None:
    """Refuses what no augmentation has.

    Raises:
      UsageError: an unknown interpolation, or an impossible value of a field.
    """
    interpolation = getattr(strength, "interpolation", "linear")
    if interpolation not in get_args(Interpolation):
        raise unknown_choice("config.augment.interpolation", interpolation, get_args(Interpolation))
    for name in _NOT_NEGATIVE:
        if _value(strength, name) < 0:
            raise UsageError(f"config.augment.{name} is {_value(strength, name)}; 0 is off.")
    for name, largest, why in (
        ("cutout", 1.0, "as it is a probability"),
        ("elastic_mm", elastic.LARGEST_MM, "as it could fold the image"),
        ("noise_grain_mm", _COARSEST_MM, "as no CT has coarser noise"),
    ):
        if _value(strength, name) > largest:
            raise UsageError(
                f"config.augment.{name} is {_value(strength, name)}; give at most {largest:g}, "
                f"{why}."
            )
    for name, needed in (
        ("noise_grain_mm", "noise_hu"),
        ("elastic_mm", "resampled"),
        ("cutout", "cutout_mm"),
    ):
        if _value(strength, name) > 0 and not _value(strength, needed) > 0:
            raise UsageError(
                f"config.augment.{name} does nothing where config.augment.{needed} is 0; set it "
                f"above 0, or {name} to 0."
            )


class Augmented(NamedTuple):
    """One variant of an example, on the network's grid.

    Attributes:
      hu: # [D, H, W] float32
      mask: soft where it was interpolated. # [D, H, W] float32
      ignored: what is neither lesion nor background. # [D, H, W] bool
      inside: what lies inside the scan; all else is its edge gone on. # [D, H, W] bool
    """

    hu: jax.Array
    mask: jax.Array
    ignored: jax.Array
    inside: jax.Array


def augment(
    key: jax.Array,
    image: jax.Array,
    mask: jax.Array,
    extent: jax.Array,
    spec: Preprocess,
    strength: Strength,
) -> Augmented:
    """Draws one variant of an example: a pure function of its arguments, to be vmapped.

    Args:
      key: of this example and this step.
      image: [d, h, w] int16 HU on the grid of the records.
      mask: [d, h, w] uint8: 1 lesion, `IGNORED` what is neither that nor background.
      extent: [3, 2]; range [start, stop) of indices that lie inside the scan.
      spec: the network's grid.
      strength: see `Strength`.
    """
    draw_key, noise_key = jax.random.split(key)
    draws = _draw(draw_key)
    # A key of its own, so that the other draws are those of a run without it.
    lesion = mask == 1
    draws["resampled"] = jax.random.uniform(jax.random.fold_in(draw_key, 0)) < strength.resampled
    elastic_key = jax.random.fold_in(draw_key, 1)
    positions = _positions(draws, elastic_key, image.shape, spec, strength)  # 3 × [D, H, W]
    seen = positions
    if any(strength.visible_extent):
        first, last = _visible(draws, lesion, extent, strength.visible_extent)
        seen = [jnp.clip(positions[axis], first[axis], last[axis]) for axis in range(3)]
    # On a CPU this runs an order of magnitude faster than gathering image and mask in one go:
    # XLA vectorises the gathers of a single volume, and no longer where two share their indices.
    values = image.astype(jnp.float32)
    if getattr(strength, "interpolation", "linear") == "sharp":  # older runs have no such field
        values = sharpened(values)
        seen = [jnp.clip(at, 0, n - 1) - _SHIFT for at, n in zip(seen, image.shape, strict=True)]
    hu = jax.scipy.ndimage.map_coordinates(values, seen, order=1, mode="nearest")
    region = jax.scipy.ndimage.map_coordinates(
        lesion.astype(jnp.float32), positions, order=1, mode="constant"
    )
    ignored = jax.scipy.ndimage.map_coordinates(
        (mask == IGNORED).astype(jnp.float32), positions, order=0, mode="constant"
    )
    hu = _appearance(draws, draw_key, noise_key, hu, strength, spec.spacing_mm)
    ends = extent.astype(jnp.float32) - 0.5
    within = [(ends[a, 0] <= at) & (at < ends[a, 1]) for a, at in enumerate(positions)]
    return Augmented(hu, region, ignored > 0.5, within[0] & within[1] & within[2])


def sharpened(x: jax.Array) -> jax.Array:
    """What linear interpolation, at positions less `_SHIFT` along each axis, samples sharply.

    Shifted linear interpolation (Blu, Thévenaz and Unser 2004, "Linear interpolation revitalized"):
    at the voxels themselves it gives back `x`; between them it is nearly as good as a cubic kernel,
    at the cost of a linear one. The recursive filter c[k] = (x[k] - s c[k-1]) / (1 - s) is cut off
    after `_TAPS` values; before the first voxel, it goes on.

    Args:
      x: [d, h, w].
    """
    taps = (-_SHIFT / (1 - _SHIFT)) ** np.arange(_TAPS)
    taps = (taps / taps.sum()).tolist()
    for axis, n in enumerate(x.shape):
        before = [(_TAPS - 1, 0) if a == axis else (0, 0) for a in range(3)]
        # Else XLA fuses the three axes, and computes each value 64 times over.
        padded = jax.lax.optimization_barrier(jnp.pad(x, before, mode="edge"))
        shifted = [jax.lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(_TAPS)]
        x = sum((t * one for t, one in zip(taps[::-1], shifted, strict=True)), jnp.zeros(()))
    return x


def _draw(key: jax.Array) -> dict[str, jax.Array]:
    """Every random number but the noise, uniform in [0, 1), drawn at once: it compiles faster."""
    values = jax.random.uniform(key, (sum(_DRAWS.values()),))
    parts = jnp.split(values, np.cumsum(list(_DRAWS.values()))[:-1])
    return dict(zip(_DRAWS, parts, strict=True))


def _either_way(draw: jax.Array, limit: float) -> jax.Array:
    return limit * (2.0 * draw - 1.0)


def _positions(
    draws: dict[str, jax.Array],
    elastic_key: jax.Array,
    sides: tuple[int, ...],
    spec: Preprocess,
    strength: Strength,
) -> list[jax.Array]:
    """Where in a record of `sides` voxels each output voxel lies, by axis. # 3 × [D, H, W]"""
    resampled = draws["resampled"]
    matrix = jnp.eye(3)  # from offsets in the output to offsets in the record
    if any(strength.flip):
        flipped = draws["flip"] < jnp.asarray(strength.flip, jnp.float32)  # [3]
        matrix = jnp.diag(jnp.where(flipped, -1.0, 1.0))
    flips = matrix
    if strength.scale > 0:
        matrix *= jnp.exp(_either_way(draws["zoom"][0], strength.scale) * resampled)
    for axis, largest_deg in enumerate(strength.rotate_deg):
        if largest_deg > 0:
            angle = jnp.deg2rad(_either_way(draws["angle"][axis], largest_deg)) * resampled
            matrix = jnp.matmul(_rotation(axis, angle), matrix, precision="highest")
    matrix = jnp.where(resampled, matrix, flips)  # exactly, whatever cos(0) is on a device
    center = np.asarray([middle(*n, spec) for n in zip(sides, spec.shape, strict=True)], np.float32)
    if strength.shift_mm > 0:
        shift = _either_way(draws["shift"], strength.shift_mm / spec.record_mm)
        center = center + jnp.where(resampled, shift, jnp.floor(shift + 0.5))
    away = np.meshgrid(
        *(offsets(n, spec).astype(np.float32) for n in spec.shape), indexing="ij"
    )  # 3 × [D, H, W]
    # Sums, not a matrix product: accelerators round the factors of products to 10 bits.
    exact = [center[i] + sum(matrix[i, j] * away[j] for j in range(3)) for i in range(3)]
    if _value(strength, "elastic_mm") > 0:
        moved = elastic.displacement(elastic_key, spec.shape, strength.elastic_mm, spec.spacing_mm)
        moved *= resampled / spec.record_mm
        exact = [x + by for x, by in zip(exact, moved, strict=True)]
    return exact


def _rotation(axis: int, angle: jax.Array) -> jax.Array:
    """Rotation by `angle` (radians) about one of the axes z, y, x. # [3, 3]"""
    i, j = (other for other in range(3) if other != axis)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.eye(3).at[(i, i, j, j), (i, j, i, j)].set(jnp.stack([cos, -sin, sin, cos]))


def _visible(
    draws: dict[str, jax.Array], mask: jax.Array, extent: jax.Array, chance: Sequence[float]
) -> tuple[jax.Array, jax.Array]:
    """First and last visible position along each axis, drawn so that the mask's box is inside.

    A scan that was cut tightly about its lesion ends where the lesion ends, which tells the size.
    If any scan may seem to end there, the place where the padding starts tells less. # [3], [3]
    """
    first, last = extent[:, 0].astype(jnp.float32), extent[:, 1].astype(jnp.float32) - 1.0
    box_first, box_last = [], []
    for axis, n in enumerate(mask.shape):
        occupied = mask.any(axis=tuple(a for a in range(3) if a != axis))  # [n]
        box_first.append(jnp.argmax(occupied))
        box_last.append(n - 1 - jnp.argmax(occupied[::-1]))  # without a mask, 0 and n - 1
    room_below = jnp.maximum(jnp.stack(box_first).astype(jnp.float32) - first, 0.0)
    room_above = jnp.maximum(last - jnp.stack(box_last).astype(jnp.float32), 0.0)
    chosen = draws["ends"] < jnp.asarray(chance, jnp.float32)  # [3]
    below, above = draws["share"].reshape(2, 3) * chosen[None, :]
    return first + below * room_below, last - above * room_above


def _appearance(
    draws: dict[str, jax.Array],
    draw_key: jax.Array,
    noise_key: jax.Array,
    hu: jax.Array,
    strength: Strength,
    spacing_mm: float,
) -> jax.Array:
    """Applies kernel, contrast, noise and cutout. # [D, H, W]"""
    softer_mm, sharper = _value(strength, "softer_mm"), _value(strength, "sharper")
    if softer_mm > 0 or sharper > 0:
        draw = jax.random.uniform(jax.random.fold_in(draw_key, 2))
        hu = appearance.kernel(draw, hu, softer_mm, sharper, spacing_mm)
    hu = appearance.jitter(draws["intensity"][:2], hu, strength.hu_scale, strength.hu_shift)
    if strength.noise_hu > 0:
        grain_mm = _value(strength, "noise_grain_mm")
        level = strength.noise_hu * draws["intensity"][2]
        hu += level * appearance.noise(noise_key, hu.shape, grain_mm, spacing_mm)
    if _value(strength, "cutout") > 0:
        key = jax.random.fold_in(draw_key, 3)
        hu = appearance.cutout(key, hu, strength.cutout, strength.cutout_mm, spacing_mm)
    return hu

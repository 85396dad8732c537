"""A record and its variants, for the tests of augmentation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dtc_jax.imaging import preprocess
from dtc_jax.training.augment import augment

SIDES = (30, 32, 34)
SPEC = preprocess.Preprocess(crop_mm=(10, 12, 14))
WHOLE = jnp.array([[0, n] for n in SIDES], jnp.int32)
KEYS = jax.random.split(jax.random.key(7), 64)


@dataclasses.dataclass(frozen=True)
class Strength:
    flip: tuple = (0.0, 0.0, 0.0)
    rotate_deg: tuple = (0.0, 0.0, 0.0)
    shift_mm: float = 0.0
    scale: float = 0.0
    resampled: float = 1.0
    interpolation: str = "linear"
    hu_shift: float = 0.0
    hu_scale: float = 0.0
    noise_hu: float = 0.0
    visible_extent: tuple = (0.0, 0.0, 0.0)
    noise_grain_mm: float = 0.0
    softer_mm: float = 0.0
    sharper: float = 0.0
    elastic_mm: float = 0.0
    cutout: float = 0.0
    cutout_mm: float = 6.0


def record(seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(-1000, 400, SIDES, np.int16)
    mask = np.zeros(SIDES, np.uint8)
    mask[12:18, 13:20, 14:21] = rng.integers(0, 2, (6, 7, 7))
    return image, mask


@functools.partial(jax.jit, static_argnames=("spec", "strength"))
def variants(keys, image, mask, extent, spec, strength):
    return jax.vmap(lambda key: augment(key, image, mask, extent, spec, strength))(keys)


def augmented(image, mask, strength, extent=WHOLE, spec=SPEC, keys=KEYS):
    """Variants of one example, image and mask, [K, D, H, W] each."""
    image, mask = jnp.asarray(image), jnp.asarray(mask)
    found = variants(keys, image, mask, extent, spec, strength)
    return tuple(np.asarray(x) for x in found[:2])

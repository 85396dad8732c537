"""Lesions of some examples of a batch set into others that show none.

As CarveMix (Zhang et al., MICCAI 2021) does, but within the batch: the lesion comes from an example
that is augmented already, and only training examples are in a training batch, so no lesion of
another split can get in. It keeps its place in the window. The blend is whole inside the mask and
fades within two voxels around it, in which the rim of the lesion is partly volume.

`set_in` gives lesions to examples without one, so that lungs vary more. `resettle` moves lesions
out of images that were cut tightly about them: where such an image ends tells a network where the
lesion is and how long, and in a whole scan nothing tells it that.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_LUNG_HU = -400.0  # mean of what a lesion replaces, at the most: it is set into lung, not bone
_AXES = (1, 2, 3)


def is_whole(mask: jax.Array, extent: jax.Array) -> jax.Array:
    """Whether the lesions of a record stay clear of where the scan, or the record, ends.

    Args:
      mask: [B, d, h, w] bool.
      extent: [B, 3, 2]; range [start, stop) of indices inside the scan.

    Returns:
      [B] bool; True where there is no lesion.
    """
    whole = jnp.ones(len(mask), bool)
    for axis, n in enumerate(mask.shape[1:]):
        occupied = mask.any(axis=tuple(a for a in _AXES if a != axis + 1))  # [B, n]
        first = jnp.where(occupied.any(axis=1), occupied.argmax(axis=1), n)
        last = jnp.where(occupied.any(axis=1), n - 1 - occupied[:, ::-1].argmax(axis=1), -1)
        whole &= (first > extent[:, axis, 0]) & (last < extent[:, axis, 1] - 1)
    return whole


def is_tight(sides: tuple[int, ...], extent: jax.Array) -> jax.Array:
    """Whether the image of a record of `sides` voxels ends within it at both ends of an axis.

    A whole scan is longer than a patch, so a patch shows one end of it at the most.

    Args:
      sides: of a record, along z, y, x.
      extent: [B, 3, 2]; range [start, stop) of indices inside the image.

    Returns:
      [B] bool.
    """
    return ((extent[:, :, 0] > 0) & (extent[:, :, 1] < np.asarray(sides)[None])).any(axis=1)


class Resettled(NamedTuple):
    """Examples after `resettle`.

    Attributes:
      hu: # [B, D, H, W]
      ignored: what is neither lesion nor background, bool. # [B, D, H, W]
      usable: False for those whose lesion was to be moved and found no place. # [B]
    """

    hu: jax.Array
    ignored: jax.Array
    usable: jax.Array


def resettle(
    keys: jax.Array,
    hu: jax.Array,
    target: jax.Array,
    ignored: jax.Array,
    inside: jax.Array,
    tight: jax.Array,
    share: float,
    axis_name: str | None = None,
) -> Resettled:
    """Replaces the surroundings of lesions in tightly cut images by an example without a lesion.

    Args:
      keys: of each example. # [B]
      hu: augmented. # [B, D, H, W]
      target: the lesions, in [0, 1]; they stay as they are. # [B, D, H, W]
      ignored: what is neither lesion nor background, bool. # [B, D, H, W]
      inside: what lies inside the image; nothing else is taken along. # [B, D, H, W]
      tight: which images are cut tightly, see `is_tight`. # [B]
      share: of these that are moved; the others stay as they are.
      axis_name: mapped axis over which the batch is spread.

    Returns:
      Each moved lesion in an example drawn among those of the batch that are not tight, have no
      lesion, and show lung where the lesion comes.
    """
    has_lesion = target.max(axis=_AXES) >= 0.5  # [B]
    hosts, host_hu, host_ignored = _of_batch(axis_name, ~has_lesion & ~tight, hu, ignored)
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)  # [B, 2]
    replaced = jnp.einsum("bzyx,hzyx->bh", target, host_hu, precision="highest")  # [B, H]
    replaced /= jnp.maximum(target.sum(_AXES), 1e-6)[:, None]
    suitable = hosts[None] & (replaced < _LUNG_HU)
    partner = _drawn(suitable, drawn[:, 1])
    weight = jnp.maximum(target, _blurred(target) * inside)
    blended = weight * hu + (1.0 - weight) * host_hu[partner]
    to_move = has_lesion & tight & (drawn[:, 0] < share)
    moved = to_move & suitable.any(axis=1)
    chosen = moved[:, None, None, None]
    return Resettled(
        jnp.where(chosen, blended, hu),
        jnp.where(chosen, host_ignored[partner], ignored),
        moved | ~to_move,
    )


def set_in(
    keys: jax.Array,
    hu: jax.Array,
    target: jax.Array,
    whole: jax.Array,
    share: float,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Sets lesions into a share of the examples without one.

    Args:
      keys: of each example. # [B]
      hu: augmented. # [B, D, H, W]
      target: the lesions, in [0, 1]. # [B, D, H, W]
      whole: whether the lesions of an example may be set in elsewhere, see `is_whole`. # [B]
      share: of the examples without a lesion; nothing happens where no example of the batch has a
        lesion to give, or where the lesion would replace what is denser than lung.
      axis_name: mapped axis over which the batch is spread.

    Returns:
      HU and target, as before where nothing was set in.
    """
    has_lesion = target.max(axis=_AXES) >= 0.5  # [B]
    donors, donor_hu, donor_target = _of_batch(axis_name, has_lesion & whole, hu, target)
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)  # [B, 2]
    partner = _drawn(donors[None], drawn[:, 1])
    lesion = donor_target[partner]
    weight = jnp.maximum(lesion, _blurred(lesion))
    replaced = (hu * lesion).sum(_AXES) / jnp.maximum(lesion.sum(_AXES), 1e-6)
    chosen = ~has_lesion & donors.any() & (drawn[:, 0] < share) & (replaced < _LUNG_HU)
    blended = weight * donor_hu[partner] + (1.0 - weight) * hu
    chosen = chosen[:, None, None, None]
    return jnp.where(chosen, blended, hu), jnp.where(chosen, lesion, target)


def _of_batch(axis_name: str | None, *rows: jax.Array) -> tuple[jax.Array, ...]:
    """The rows [B, …] of all devices over which the batch is spread by `axis_name`. # [N, …]"""
    if axis_name is None:
        return rows
    return tuple(jax.lax.all_gather(one, axis_name, tiled=True) for one in rows)


def _drawn(candidates: jax.Array, draw: jax.Array) -> jax.Array:
    """Index of the candidate that an even draw from [0, 1) names; 0 where there is none.

    Args:
      candidates: [B, N] or, the same for all, [1, N] bool.
      draw: [B].

    Returns:
      [B] int32.
    """
    rank = jnp.cumsum(candidates, axis=1) - 1  # of each candidate among them
    wanted = jnp.floor(draw * candidates.sum(axis=1)).astype(jnp.int32)  # [B]
    return jnp.argmax(candidates & (rank == wanted[:, None]), axis=1)


def _blurred(x: jax.Array) -> jax.Array:
    """Binomial smoothing over five voxels along each axis. # [B, D, H, W]"""
    taps = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    for axis in _AXES:
        n = x.shape[axis]
        padded = jnp.pad(x, [(2, 2) if a == axis else (0, 0) for a in range(4)])
        x = sum(
            (tap * jax.lax.slice_in_dim(padded, k, k + n, axis=axis) for k, tap in enumerate(taps)),
            jnp.zeros(()),
        )
    return x

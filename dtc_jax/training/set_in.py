"""Lesions of some examples of a batch set into others that show none, so that lungs vary more.

As CarveMix (Zhang et al., MICCAI 2021) does, but within the batch: the lesion comes from an example
that is augmented already, and only training examples are in a training batch, so no lesion of
another split can get in. It keeps its place in the window. The blend is whole inside the mask and
fades within two voxels around it, in which the rim of the lesion is partly volume.
"""

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
    donors, donor_hu, donor_target = has_lesion & whole, hu, target
    if axis_name is not None:
        donors, donor_hu, donor_target = (
            jax.lax.all_gather(x, axis_name, tiled=True) for x in (donors, hu, target)
        )
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)  # [B, 2]
    rank = jnp.cumsum(donors) - 1  # of each donor among them
    wanted = jnp.floor(drawn[:, 1] * donors.sum()).astype(jnp.int32)  # [B]
    partner = jnp.argmax(donors[None] & (rank[None] == wanted[:, None]), axis=1)  # [B]
    lesion = donor_target[partner]
    weight = jnp.maximum(lesion, _blurred(lesion))
    replaced = (hu * lesion).sum(_AXES) / jnp.maximum(lesion.sum(_AXES), 1e-6)
    chosen = ~has_lesion & donors.any() & (drawn[:, 0] < share) & (replaced < _LUNG_HU)
    blended = weight * donor_hu[partner] + (1.0 - weight) * hu
    chosen = chosen[:, None, None, None]
    return jnp.where(chosen, blended, hu), jnp.where(chosen, lesion, target)


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

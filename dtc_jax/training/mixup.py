"""Mixup: each example of a batch is mixed with the next one, and so are their losses.

Zhang et al. (ICLR 2018), "mixup: beyond empirical risk minimization". Batches are shuffled, so the
next row is a random partner.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def mixed(
    keys: jax.Array, x: jax.Array, rows: Tree, alpha: float, axis_name: str | None
) -> tuple[jax.Array, list[tuple[Tree, jax.Array]]]:
    """Mixes each example with the next one.

    Args:
      keys: of each example. # [B]
      x: [B, ...].
      rows: what else belongs to an example, a tree of arrays [B, ...].
      alpha: of the Beta distribution of the shares; the larger, the more is mixed.
      axis_name: mapped axis over which the batch is spread, or None.

    Returns:
      What the network is to see, [B, ...]; and twice rows and how much each counts, [B]: those of
      the example itself, at least one half, and those of the next one.
    """
    own = _shares(keys, alpha)  # [B]
    next_x, next_rows = following((x, rows), axis_name)
    weight = own.reshape(-1, *[1] * (x.ndim - 1))
    return weight * x + (1.0 - weight) * next_x, [(rows, own), (next_rows, 1.0 - own)]


def _shares(keys: jax.Array, alpha: float) -> jax.Array:
    """How much of itself each example keeps. # [B]"""
    drawn = jax.vmap(lambda key: jax.random.beta(key, alpha, alpha))(keys)
    return jnp.maximum(drawn, 1.0 - drawn)


def following(rows: Tree, axis_name: str | None) -> Tree:
    """The next row of the global batch for each row; the first one after the last. # [B, ...]

    Args:
      rows: a tree of arrays [B, ...].
      axis_name: mapped axis over which the batch is spread, or None.
    """
    if axis_name is None:
        return jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), rows)
    devices = jax.lax.axis_size(axis_name)
    pairs = [((i + 1) % devices, i) for i in range(devices)]  # from, to

    def shifted(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x[1:], jax.lax.ppermute(x[:1], axis_name, pairs)])

    return jax.tree.map(shifted, rows)

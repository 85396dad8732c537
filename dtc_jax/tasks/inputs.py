"""What the tasks share: preprocessing and network fields from the config, mirror images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.training.task import PyTree

Logit = Callable[[PyTree, PyTree, jax.Array, jax.Array], jax.Array]


def make_preprocess(config: ml_collections.ConfigDict) -> Preprocess:
    """The preprocessing that training, inference and export share, from `config.preprocess`."""
    fields = config.preprocess.to_dict()
    tuples = {name: tuple(fields[name]) for name in ("crop_mm", "window")}  # lists, if from JSON
    return Preprocess(**fields | tuples)


def mirrors(on: bool) -> list[tuple[int, ...]]:
    """Axes of [B, D, H, W, ...] to flip, an entry a view: the crop itself and its mirror images."""
    return [(), (1,), (2,), (3,)] if on else [()]


def views(x: jax.Array, on: bool) -> jax.Array:
    """`x` and, if they are `on`, its mirror images, one below the other. # [V * B, D, H, W, C]"""
    return jnp.concatenate([jnp.flip(x, axes) for axes in mirrors(on)])


def mean_of_views(logits: jax.Array, batch: Any, on: bool) -> jax.Array:
    """The mean of the network's outputs on `views`, flipped back where they are images.

    Args:
      logits: [V * B], or [V * B, D, H, W].
      batch: B, a number or a symbolic dimension.
      on: whether there are mirror images.

    Returns:
      [B], or [B, D, H, W].
    """
    flips = mirrors(on)
    seen = logits.reshape(len(flips), batch, *logits.shape[1:])
    if logits.ndim > 1:
        flipped = [jnp.flip(seen[view], axes) for view, axes in enumerate(flips)]
        return sum(flipped, jnp.zeros(())) / len(flips)
    return seen.mean(axis=0)


def networks(config: ml_collections.ConfigDict) -> int:
    """How many networks decide together: `config.train.ensemble`, 1 in runs from before it."""
    return int(config.train.get("ensemble", 1))


def of_ensemble(config: ml_collections.ConfigDict, logit: Logit) -> Logit:
    """`logit` of each network of an ensemble, and their mean; of a single network, `logit` itself.

    Args:
      config: where it says `train.ensemble` > 1, params and batch_stats are tuples with one tree
        for each network.
      logit: of one network.
    """
    if networks(config) == 1:
        return logit

    def mean(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        each = [logit(*one, image, mask) for one in zip(params, batch_stats, strict=True)]
        return sum(each[1:], each[0]) / len(each)

    return mean


def network_fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields of `config.model` as a network takes them: lists from JSON are tuples again."""
    fields = config.model.to_dict() | {"dtype": jnp.dtype(config.model.dtype)}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}

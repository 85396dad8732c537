"""What the tasks share: preprocessing and network fields from the config, mirror images."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.tasks.overrides import overridden
from dtc_jax.training.task import PyTree

_SNAPSHOTS = "snapshots"  # folder
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
    """Networks of a candidate: `config.train.ensemble` seeds, each with its `snapshots`."""
    return int(config.train.get("ensemble", 1)) * snapshots(config)


def snapshots(config: ml_collections.ConfigDict) -> int:
    """Networks that one training gives: `config.train.snapshots`, 1 in earlier runs."""
    return int(config.train.get("snapshots", 1))


def epochs(config: ml_collections.ConfigDict) -> int:
    """Epochs of a single network: its snapshots share those of `config.train.epochs`."""
    return int(config.train.epochs) // snapshots(config)


def trained_networks(config: ml_collections.ConfigDict) -> int:
    """How many networks a run trains on one split: those of every candidate."""
    return sum(map(networks, variants(config).values()))


def combines(config: ml_collections.ConfigDict) -> bool:
    """Whether the candidates decide together, rather than the best of them alone."""
    return bool(config.candidates) and config.get("combine", "best") == "mean"


def variants(config: ml_collections.ConfigDict) -> dict[str, ml_collections.ConfigDict]:
    """The configuration of each candidate by name; {'': config} where there are none.

    Raises:
      UsageError: a candidate has a field that the configuration does not have, or one of another
        type.
    """
    changed = {
        name: overridden(config, fields, f"config.candidates.{name}")
        for name, fields in sorted(config.candidates.items())
    }
    if combines(config):
        for variant in changed.values():
            variant.combine = "best"  # of itself
    return changed or {"": config}


def parts(config: ml_collections.ConfigDict) -> dict[str, ml_collections.ConfigDict]:
    """The networks that decide together by their mean logit: candidates x seeds x snapshots.

    A snapshot is a training of its own, with a learning rate that starts anew and a part of the
    epochs; it goes on from the network before it (`goes_on`), as in Huang et al. 2017, Snapshot
    ensembles.

    Returns:
      Folder below that of the split -> the configuration of a single network, in the order in which
      they are trained; {'': config} where there is one.
    """
    result = {}
    for name, variant in (variants(config) if combines(config) else {"": config}).items():
        home = f"candidates/{name}" if name else ""
        if networks(variant) == 1:
            result[home] = variant
            continue
        count = snapshots(variant)
        seeds = networks(variant) // count
        for number, snapshot in itertools.product(range(seeds), range(count)):
            single = variant.copy_and_resolve_references()
            single.seed = variant.seed + number + seeds * snapshot  # no two draw the same batches
            single.train.update({"epochs": epochs(variant), "ensemble": 1})
            folders = [home, f"ensemble/{number:02d}" if seeds > 1 else ""]
            if count > 1:
                single.train.snapshots = 1
                folders.append(f"{_SNAPSHOTS}/{snapshot:02d}")
            result["/".join(filter(None, folders))] = single
    return result


def goes_on(home: str) -> bool:
    """Whether the network in a folder of `parts` starts from the one before it."""
    *_, kind, number = ("", "", *home.split("/"))
    return kind == _SNAPSHOTS and int(number) > 0


def together(
    config: ml_collections.ConfigDict, make: Callable[[ml_collections.ConfigDict], Logit]
) -> Logit:
    """The mean of what `make` gives for each of `parts`; of a single network, that itself.

    Args:
      config: where it has several parts, params and batch_stats are tuples with a tree for each.
      make: from the configuration of one network to its logit.
    """
    logits = [make(part) for part in parts(config).values()]
    if len(logits) == 1:
        return logits[0]

    def mean(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        variables = zip(logits, params, batch_stats, strict=True)
        each = [logit(p, stats, image, mask) for logit, p, stats in variables]
        return sum(each[1:], each[0]) / len(each)

    return mean


def network_fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields of `config.model` as a network takes them: lists from JSON are tuples again."""
    fields = config.model.to_dict() | {"dtype": jnp.dtype(config.model.dtype)}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}

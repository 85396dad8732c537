"""Losses of a segmentation as sums and weights over examples, by name from `config.loss`.

With tp = sum p t, fp = sum p (1 - t), fn = sum (1 - p) t over the voxels of one example, where p is
the probability and t the target in [0, 1]:

| name | loss of an example |
|---|---|
| dice | 1 - Dice, Dice = (2 tp + s) / (2 tp + fp + fn + s) (Milletari et al. 2016, p unsquared) |
| dice_cross_entropy | the same plus the mean cross-entropy of its voxels |
| tversky | 1 - T, T = (tp + s/2) / (tp + alpha fp + beta fn + s/2) (Salehi et al. 2017) |
| focal_tversky | (1 - T)^(1 / gamma) (Abraham and Khan 2019) |

s is `smoothing`, in voxels: it keeps the ratio defined where nothing is there and nothing found.
Each example has a ratio of its own and counts alike, large lesion or small; so examples and devices
can be added up.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dtc_jax.errors import unknown_choice

_NAMES = ("dice", "dice_cross_entropy", "tversky", "focal_tversky")
_EMPTY = ("count", "skip")
_NEVER_ZERO = 1e-6  # where the root of `focal_tversky` would have no gradient


def check(loss: Any) -> None:
    """Raises UsageError if `loss.name` or `loss.empty` is unknown."""
    for field, choices in (("name", _NAMES), ("empty", _EMPTY)):
        if getattr(loss, field) not in choices:
            raise unknown_choice(f"config.loss.{field}", getattr(loss, field), choices)


def example_losses(logits: jax.Array, target: jax.Array, loss: Any) -> jax.Array:
    """The loss of each example.

    Args:
      logits: [B, D, H, W].
      target: [B, D, H, W] in [0, 1], soft where it was interpolated.
      loss: name, smoothing, alpha, beta, gamma and empty, see the module and `_counts`.

    Returns:
      [B] float32.
    """
    probability = jax.nn.sigmoid(logits)
    axes = (1, 2, 3)
    tp = (probability * target).sum(axes)  # [B]
    fp = probability.sum(axes) - tp
    fn = target.sum(axes) - tp
    alpha, beta = (loss.alpha, loss.beta) if "tversky" in loss.name else (0.5, 0.5)
    half = loss.smoothing / 2.0
    missed = 1.0 - (tp + half) / (tp + alpha * fp + beta * fn + half)  # with 1/2, 1/2: 1 - Dice
    if loss.name == "focal_tversky":
        missed = jnp.maximum(missed, _NEVER_ZERO) ** (1.0 / loss.gamma)
    missed = missed * _counts(target, loss.empty)
    if loss.name == "dice_cross_entropy":
        return missed + optax.sigmoid_binary_cross_entropy(logits, target).mean(axes)
    return missed


def _counts(target: jax.Array, empty: str) -> jax.Array:
    """The policy for examples without lesion, whose overlap has no meaning: 1 or 0. # [B]

    'count': they are examples like others; with nothing to find the loss is 0 only if nothing is
    found, and else near 1. 'skip': overlap ignores them; only cross-entropy, if it is on,
    learns from them. In neither case do they enter the Dice that is reported.
    """
    has_lesion = (target > 0).any(axis=(1, 2, 3)).astype(jnp.float32)
    return jnp.ones_like(has_lesion) if empty == "count" else has_lesion

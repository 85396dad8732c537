"""Losses as sums and weights, never means, so that rows and devices can be added up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dtc_jax.errors import InputError, unknown_choice

Sums = tuple[jax.Array, jax.Array]  # of a loss and of the weights of its rows


def class_weights(labels: np.ndarray, kind: str | None) -> tuple[float, float]:
    """Weights of the negative and the positive class.

    Args:
      labels: [N] of 0 and 1; the training split.
      kind: 'balanced': n / (2 n_class), as in scikit-learn; 'none' or None: 1 and 1.

    Raises:
      InputError: a class is missing.
      UsageError: `kind` is neither.
    """
    if kind is None or kind == "none":
        return 1.0, 1.0
    if kind != "balanced":
        raise unknown_choice("config.loss.class_weight", kind, ("balanced", "none"))
    labels = np.asarray(labels)
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise InputError(
            f"the training split has {negatives} negative and {positives} positive lesions; "
            "both classes are needed."
        )
    return len(labels) / (2.0 * negatives), len(labels) / (2.0 * positives)


def sigmoid_cross_entropy(
    logits: jax.Array, labels: jax.Array, weights: jax.Array, label_smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Weighted binary cross-entropy.

    Args:
      logits: [B].
      labels: [B] of 0 and 1; anything, NaN too, where the weight is 0.
      weights: [B]; 0 for rows that only fill a batch.
      label_smoothing: s turns the targets 0 and 1 into s/2 and 1 - s/2.

    Returns:
      The weighted sum and the sum of the weights, both scalar.
    """
    labels = jnp.where(weights > 0, labels, 0.0)
    targets = labels * (1.0 - label_smoothing) + label_smoothing / 2.0
    return (weights * optax.sigmoid_binary_cross_entropy(logits, targets)).sum(), weights.sum()


def squared_errors(
    outputs: jax.Array, targets: jax.Array, weights: jax.Array, each: jax.Array
) -> jax.Array:
    """The weighted sum of squared errors of several outputs; unknown targets count for nothing.

    Args:
      outputs: [B, A].
      targets: [B, A], NaN where unknown.
      weights: of the rows. # [B]
      each: weights of the outputs. # [A]
    """
    known = jnp.isfinite(targets)
    errors = jnp.where(known, outputs - jnp.where(known, targets, 0.0), 0.0)
    return (weights[:, None] * each[None] * errors**2).sum()

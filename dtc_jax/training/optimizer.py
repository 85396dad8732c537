"""Optimizers and schedules by name, from `config.optimizer`."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dtc_jax.errors import unknown_choice

_OPTIMIZERS = ("adamw", "adam", "sgd")
_SCHEDULES = ("cosine", "linear", "constant")


def make_optimizer(config: Any, total_steps: int | jax.Array) -> optax.GradientTransformation:
    """Clipping, then the named optimizer with its schedule and decoupled weight decay.

    Args:
      config: name ('adamw', 'adam', 'sgd'), learning_rate (peak), schedule ('cosine' and 'linear'
        end at 0; 'constant'), warmup_fraction (of all steps, linear from 0), weight_decay (not for
        norms and biases; 'adamw' and 'sgd' alone use it), clip_norm (of the global gradient; 0 is
        off), momentum (of 'sgd').
      total_steps: updates in all; under jit it may be traced.

    Raises:
      UsageError: an unknown name.
    """
    if config.name not in _OPTIMIZERS:
        raise unknown_choice("config.optimizer.name", config.name, _OPTIMIZERS)
    rate = make_schedule(config, total_steps)
    if config.name == "adamw":
        update = optax.adamw(rate, weight_decay=config.weight_decay, mask=decay_mask)
    elif config.name == "adam":
        update = optax.adam(rate)
    else:
        update = optax.chain(
            optax.trace(config.momentum, nesterov=True),
            optax.add_decayed_weights(config.weight_decay, mask=decay_mask),  # past the momentum
            optax.scale_by_learning_rate(rate),
        )
    if config.clip_norm > 0:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), update)
    return update


def make_schedule(config: Any, total_steps: int | jax.Array) -> optax.Schedule:
    """The learning rate by step; see `make_optimizer`."""
    if config.schedule not in _SCHEDULES:
        raise unknown_choice("config.optimizer.schedule", config.schedule, _SCHEDULES)
    warmup = jnp.round(config.warmup_fraction * total_steps)
    rest = jnp.maximum(1, total_steps - warmup)
    decay = {  # by the share of the rest that is over
        "cosine": optax.cosine_decay_schedule(1.0, 1),
        "linear": optax.linear_schedule(1.0, 0.0, 1),
        "constant": optax.constant_schedule(1.0),
    }[config.schedule]

    def rate(count: jax.Array) -> jax.Array:
        rise = count / jnp.maximum(1, warmup)
        return config.learning_rate * jnp.where(
            count < warmup, rise, decay((count - warmup) / rest)
        )

    return rate


def decay_mask(params: Any) -> Any:
    """True for kernels: biases and the scales and offsets of norms have one axis."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

"""Optimizers and schedules by name, from `config.optimizer`."""

from typing import Any

import jax
import optax

from dtc_jax.errors import unknown_choice

_OPTIMIZERS = ("adamw", "adam", "sgd")
_SCHEDULES = ("cosine", "linear", "constant")


def make_optimizer(config: Any, total_steps: int) -> optax.GradientTransformation:
    """Clipping, then the named optimizer with its schedule and decoupled weight decay.

    Args:
      config: name ('adamw', 'adam', 'sgd'), learning_rate (peak), schedule ('cosine' and 'linear'
        end at 0; 'constant'), warmup_fraction (of all steps, linear from 0), weight_decay (not for
        norms and biases; 'adamw' and 'sgd' alone use it), clip_norm (of the global gradient; 0 is
        off), momentum (of 'sgd').
      total_steps: updates in all.

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


def make_schedule(config: Any, total_steps: int) -> optax.Schedule:
    """The learning rate by step; see `make_optimizer`."""
    if config.schedule not in _SCHEDULES:
        raise unknown_choice("config.optimizer.schedule", config.schedule, _SCHEDULES)
    peak = config.learning_rate
    warmup = round(config.warmup_fraction * total_steps)
    rest = max(1, total_steps - warmup)
    after = {
        "cosine": optax.cosine_decay_schedule(peak, rest),
        "linear": optax.linear_schedule(peak, 0.0, rest),
        "constant": optax.constant_schedule(peak),
    }[config.schedule]
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def decay_mask(params: Any) -> Any:
    """True for kernels: biases and the scales and offsets of norms have one axis."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

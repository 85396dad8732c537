"""Everything a training step carries from one step to the next, and how it starts."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dtc_jax.training.task import Task

NEVER = -1  # `first_bad_step` while every loss so far was finite


@flax.struct.dataclass
class TrainState:
    """A pytree of arrays alone: no key, no host object, so it can be donated and saved whole.

    Attributes:
      step: int32 scalar; updates done so far.
      params: trainable parameters.
      batch_stats: running statistics of the normalisation layers.
      opt_state: state of the optimizer.
      ema: moving average of `params`, used for evaluation; None when it is off.
      first_bad_step: int32 scalar; number of the first update whose loss or gradient was not
        finite (counted from 1, as `step` is after it), `NEVER` while there was none.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    first_bad_step: jax.Array

    @property
    def evaluated_params(self) -> Any:
        """The parameters to evaluate and to ship: the moving average where there is one."""
        return self.params if self.ema is None else self.ema


def create(
    task: Task, optimizer: optax.GradientTransformation, *, seed: int | jax.Array, ema: bool
) -> TrainState:
    """The state before the first step; a pure function of its arguments, to be called under jit."""
    params, batch_stats = task.init(jax.random.key(seed))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else None,  # its own buffers: both are donated
        first_bad_step=jnp.full((), NEVER, jnp.int32),
    )


def started_from(state: TrainState, params: Any, batch_stats: Any) -> TrainState:
    """The first state with other parameters and running statistics, all on the host."""
    ema = None if state.ema is None else jax.tree.map(np.array, params)
    return dataclasses.replace(state, params=params, batch_stats=batch_stats, ema=ema)

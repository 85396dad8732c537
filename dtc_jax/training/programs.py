"""The compiled programs of a training and of a prediction, kept for the next one like it.

Networks that differ in their numbers alone, as the members of an ensemble and the folds of a cross-
validation do, so trace their programs once in a process; from its files a process would load what
was compiled, but trace it again, seconds each time. Alike are those of the same task and the same
optimizer: the same objects, as `experiment.learned` gives them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from dtc_jax.training import state, steps
from dtc_jax.training.parallel import Parallel
from dtc_jax.training.task import Task

MakeOptimizer = Callable[[jax.Array], optax.GradientTransformation]
_KEPT = 4  # a run's candidates are two, and each has its program in memory
# The first state is drawn once, in milliseconds. At XLA's usual level, its random numbers take a
# CPU as long to compile as a step; at this one a fifth of that, and they are the same bit for bit.
_DRAW_ONCE = {"xla_backend_optimization_level": 1}


@dataclasses.dataclass(frozen=True)
class Training:
    """The programs of a training; `seed` and `total_steps` are its numbers, int32 scalars.

    Attributes:
      first_state: (seed, total_steps) -> state.
      train_step: (state, batch, numbers by name) -> (state, metrics).
    """

    first_state: Any
    train_step: Callable[..., Any]


@functools.lru_cache(_KEPT)
def training(
    task: Task, make_optimizer: MakeOptimizer, ema_decay: float, accumulate: int, parallel: Parallel
) -> Training:
    """The programs of a training; see `loop.fit` for the arguments."""

    def create(seed: jax.Array, total_steps: jax.Array) -> state.TrainState:
        return state.create(task, make_optimizer(total_steps), seed=seed, ema=ema_decay > 0)

    def make_step(seed: jax.Array, total_steps: jax.Array) -> steps.TrainStep:
        return steps.make_train_step(
            task,
            make_optimizer(total_steps),
            seed=seed,
            ema_decay=ema_decay,
            accumulate=accumulate,
        )

    options = _DRAW_ONCE if jax.default_backend() == "cpu" else None
    return Training(jax.jit(create, compiler_options=options), parallel.compile_train(make_step))


@functools.lru_cache(_KEPT)
def prediction(task: Task, parallel: Parallel) -> Callable[..., Any]:
    """(params, batch_stats, batch) -> dict of arrays, see `Parallel.compile_predict`."""
    return parallel.compile_predict(steps.make_predict_step(task))

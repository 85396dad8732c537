"""How long a training is, what happens when, and who watches it: the settings of `loop.fit`."""

import contextlib
import dataclasses
from collections.abc import Callable

import optax

from dtc_jax.training.result import OnEvaluation
from dtc_jax.training.tracker import Track


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training does, counted in steps (updates).

    Attributes:
      seed: of the parameters, augmentation and dropout.
      total_steps: in all.
      steps_per_epoch: for the log.
      evaluate_every: steps between evaluations; the last step is always evaluated.
      log_every: steps between rows of training metrics.
      checkpoint_every: steps between checkpoints; a new best is always saved.
      stop_at: step after which to return, evaluated and saved; a later call goes on from there.
        None for the last.
      patience: evaluations without a better one before training ends; 0 for never.
      ema_decay: decay of the moving average of the parameters; 0 for none.
      accumulate: parts of a batch that go through the network one after another.
      profile_steps: steps to trace after the first one.
    """

    seed: int
    total_steps: int
    steps_per_epoch: int
    evaluate_every: int
    log_every: int
    checkpoint_every: int
    stop_at: int | None = None
    patience: int = 0
    ema_decay: float = 0.0
    accumulate: int = 1
    profile_steps: int = 0

    @property
    def last_step(self) -> int:
        """The step after which a call returns."""
        return self.total_steps if self.stop_at is None else min(self.stop_at, self.total_steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """What a training shows of itself beside its files, and to whom.

    Attributes:
      on_evaluation: called after each evaluation. Where it returns True the training ends there,
        for good: the same call on the same folder returns at once.
      learning_rate: the optimizer's schedule, for the log.
      name_of: name of the example with an index, for messages.
      tracker: opens what gets the rows of the log as well; called if there is something to train.
    """

    on_evaluation: OnEvaluation | None = None
    learning_rate: optax.Schedule | None = None
    name_of: Callable[[int], str] = str
    tracker: Callable[[], contextlib.AbstractContextManager[Track]] | None = None

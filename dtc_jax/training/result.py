"""What a run remembers from one start to the next, and what it gives in the end."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike
from dtc_jax.training import checkpoint, logs
from dtc_jax.training.task import PyTree


@dataclasses.dataclass
class Progress:
    """What the host must remember from one start of a run to the next; JSON in the checkpoint.

    Attributes:
      evaluated_step: the last step whose evaluation is done.
      best_step: the step of the best evaluation so far, None before the first.
      best_metrics: that evaluation.
      since_best: evaluations since then, for early stopping.
      sums: metric -> [sum, count] of the training steps that no row has reported yet.
      rows: rows of metrics.jsonl written.
      seconds: seconds of training.
      batches: position of the training batches.
      is_ended: whether the callback at an evaluation has ended the training.
      unfinished: how far the training is, such as 'step 3 of 36'; '' at its end, and in runs of
        versions that did not say.
    """

    evaluated_step: int = 0
    best_step: int | None = None
    best_metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    since_best: int = 0
    sums: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    batches: Any = None
    is_ended: bool = False
    unfinished: str = ""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """The network that was kept: the best by the monitored metric on validation, or the last.

    Attributes:
      params: on the host; the moving average where it is on.
      batch_stats: on the host.
      best_step: the step it is from.
      best_metrics: its metrics on validation.
      history: the rows of metrics.jsonl.
      unfinished: see `Progress`.
    """

    params: PyTree
    batch_stats: PyTree
    best_step: int
    best_metrics: dict[str, float]
    history: list[dict[str, Any]]
    unfinished: str = ""


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What `loop.fit` reports at each evaluation.

    Attributes:
      step: updates so far.
      total_steps: updates in all.
      metrics: of the validation split.
      is_best: whether this network is kept, see `Task.is_better`.
    """

    step: int
    total_steps: int
    metrics: dict[str, float]
    is_best: bool


OnEvaluation = Callable[[Evaluated], bool]  # whether to end the training here
Initial = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]  # params, batch_stats on the host


def read_best(workdir: PathLike, progress: Progress | None = None) -> FitResult:
    """The best network so far of the run in `workdir`.

    Args:
      workdir: that `fit` was given.
      progress: that of the run; None to read it.

    Raises:
      InputError: `workdir` contains no evaluated checkpoint.
    """
    folder = pathlib.Path(workdir) / "checkpoints"
    if progress is None:
        progress = Progress(**checkpoint.read_progress(folder))
    if progress.best_step is None:
        raise InputError(f"{workdir}: stopped before its first evaluation. Continue its training.")
    model = checkpoint.read_model(folder, progress.best_step)
    return FitResult(
        model.params,
        model.batch_stats,
        model.step,
        progress.best_metrics,
        logs.read(workdir),
        progress.unfinished,
    )

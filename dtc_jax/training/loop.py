"""The training loop: epochs, evaluation, early stopping, checkpoints, and a clean stop by signal.

Stopped at any moment and called again, `fit` ends with what it would have ended with uninterrupted;
on a CPU and with the same devices, bit for bit. Several processes call it together, see `hosts`;
another number of them may go on.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import optax

from dtc_jax.storage import PathLike
from dtc_jax.training import checkpoint, hosts, interrupt, logs, parameters, profiling, result
from dtc_jax.training import parallel as parallel_lib
from dtc_jax.training.programs import MakeOptimizer
from dtc_jax.training.result import Initial, OnEvaluation
from dtc_jax.training.task import Batch, Task, TrainBatches
from dtc_jax.training.tracker import Track
from dtc_jax.training.trainer import Trainer


def fit(
    task: Task,
    make_optimizer: MakeOptimizer,
    train_batches: TrainBatches,
    validation_batches: Callable[[], Iterator[Batch]] | None,
    workdir: PathLike,
    *,
    seed: int,
    total_steps: int,
    steps_per_epoch: int,
    evaluate_every: int,
    log_every: int,
    checkpoint_every: int,
    stop_at: int | None = None,
    patience: int = 0,
    ema_decay: float = 0.0,
    accumulate: int = 1,
    parallel: str = "jit",
    devices: Sequence[jax.Device] | None = None,
    initial: Initial | None = None,
    on_evaluation: OnEvaluation | None = None,
    learning_rate: optax.Schedule | None = None,
    name_of: Callable[[int], str] = str,
    profile_steps: int = 0,
    tracker: contextlib.AbstractContextManager[Track] | None = None,
) -> result.FitResult:
    """Trains `task`, or goes on where `workdir` stands; a finished run returns at once.

    Args:
      task: what to learn.
      make_optimizer: gives, for the updates in all, the optimizer with its schedule inside.
      train_batches: endless; not touched if the run is already finished. Of several processes each
        gives its rows, in the order of the processes.
      validation_batches: gives a fresh pass over validation, whose tail may be padded; rows as in
        `train_batches`. None where nothing is chosen and the last network is the best.
      workdir: gets metrics.jsonl, tensorboard/, checkpoints/, parameters.txt and profile/.
      seed: of the parameters, augmentation and dropout.
      total_steps: updates in all.
      steps_per_epoch: updates in an epoch, for the log.
      evaluate_every: steps between evaluations; the last step is always evaluated.
      log_every: steps between rows of training metrics.
      checkpoint_every: steps between checkpoints; a new best is always saved.
      stop_at: step after which to return, evaluated and saved; a later call goes on from there.
        None for the last.
      patience: evaluations without a better one before training ends; 0 for never.
      ema_decay: decay of the moving average of the parameters; 0 for none.
      accumulate: parts of a batch that go through the network one after another.
      parallel: 'jit' or 'pmap'.
      devices: those to use; None for all, of all processes.
      initial: changes the first parameters and running statistics; a resumed run has its own.
      on_evaluation: called after each evaluation. Where it returns True the training ends there,
        for good: the same call on `workdir` returns at once.
      learning_rate: the optimizer's schedule, for the log.
      name_of: name of the example with an index, for messages.
      profile_steps: steps to trace after the first one.
      tracker: gets the rows of the log; opened only if there is something to train.

    Raises:
      InputError: the loss or the monitored metric is not finite, the disk is full, or the
        checkpoints in `workdir` are of another network or unreadable.
      Stopped: SIGTERM or SIGINT came; everything is saved.
    """
    run = Trainer(
        task=task,
        train_batches=train_batches,
        validation_batches=validation_batches,
        total_steps=total_steps,
        evaluate_every=evaluate_every,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        stop_at=total_steps if stop_at is None else min(stop_at, total_steps),
        patience=patience,
        parallel=parallel_lib.make(parallel, devices),
        on_evaluation=on_evaluation,
        name_of=name_of,
        learning_rate=jax.jit(learning_rate) if learning_rate else None,
    )
    workdir = pathlib.Path(workdir)
    with (
        interrupt.watch() as stop,
        checkpoint.Checkpoints(workdir / "checkpoints") as checkpoints,
    ):
        run.start(checkpoints, make_optimizer, seed, ema_decay, accumulate, initial)
        if not run.finished:
            progress = run.progress
            with contextlib.ExitStack() as stack:
                log: logs.Log = logs.Silent()
                if hosts.is_first():
                    track = stack.enter_context(tracker) if tracker else _untracked
                    log = stack.enter_context(
                        logs.Logs(
                            workdir,
                            step=run.step,
                            rows=progress.rows,
                            total_steps=total_steps,
                            steps_per_epoch=steps_per_epoch,
                            seconds=progress.seconds,
                            track=track,
                        )
                    )
                    parameters.write_once(run.shapes.params, workdir)
                traced = profile_steps if hosts.is_first() else 0
                run.profile = stack.enter_context(profiling.Profile(workdir, traced))
                run.train(checkpoints, log, stop)
    return result.read_best(workdir, run.progress)


def _untracked(step: int, metrics: Mapping[str, float]) -> None: ...

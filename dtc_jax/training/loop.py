"""The training loop: epochs, evaluation, early stopping, checkpoints, and a clean stop by signal.

Stopped at any moment and called again, `fit` ends with what it would have ended with uninterrupted;
on a CPU and with the same devices, bit for bit. Several processes call it together, see `hosts`;
another number of them may go on.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax

from dtc_jax.storage import PathLike
from dtc_jax.training import checkpoint, hosts, interrupt, logs, parameters, profiling, result
from dtc_jax.training import parallel as parallel_lib
from dtc_jax.training.plan import Plan, Watch
from dtc_jax.training.programs import MakeOptimizer
from dtc_jax.training.result import Initial
from dtc_jax.training.task import Batch, Task, TrainBatches
from dtc_jax.training.trainer import Trainer


def fit(
    task: Task,
    make_optimizer: MakeOptimizer,
    train_batches: TrainBatches,
    validation_batches: Callable[[], Iterator[Batch]] | None,
    workdir: PathLike,
    plan: Plan,
    watch: Watch,
    *,
    parallel: str = "jit",
    devices: Sequence[jax.Device] | None = None,
    initial: Initial | None = None,
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
      plan: what happens when.
      watch: what is shown beside these files.
      parallel: 'jit' or 'pmap'.
      devices: those to use; None for all, of all processes.
      initial: changes the first parameters and running statistics; a resumed run has its own.

    Raises:
      InputError: the loss or the monitored metric is not finite, the disk is full, or the
        checkpoints in `workdir` are of another network or unreadable.
      Stopped: SIGTERM or SIGINT came; everything is saved.
    """
    how = parallel_lib.make(parallel, devices)
    run = Trainer(task, train_batches, validation_batches, plan, watch, how)
    workdir = pathlib.Path(workdir)
    with (
        interrupt.watch() as stop,
        checkpoint.Checkpoints(workdir / "checkpoints") as checkpoints,
    ):
        run.start(checkpoints, make_optimizer, initial)
        if not run.finished:
            with contextlib.ExitStack() as stack:
                log: logs.Log = logs.Silent()
                if hosts.is_first():
                    log = stack.enter_context(_log(run, workdir, stack))
                    parameters.write_once(run.shapes.params, workdir)
                traced = plan.profile_steps if hosts.is_first() else 0
                run.profile = stack.enter_context(profiling.Profile(workdir, traced))
                run.train(checkpoints, log, stop)
    return result.read_best(workdir, run.progress)


def _log(run: Trainer, workdir: pathlib.Path, stack: contextlib.ExitStack) -> logs.Logs:
    """The log of a training, and its tracker, which `stack` closes."""
    opened = run.watch.tracker
    return logs.Logs(
        workdir,
        step=run.step,
        rows=run.progress.rows,
        total_steps=run.plan.total_steps,
        steps_per_epoch=run.plan.steps_per_epoch,
        seconds=run.progress.seconds,
        track=stack.enter_context(opened()) if opened else _untracked,
    )


def _untracked(step: int, metrics: Mapping[str, float]) -> None: ...

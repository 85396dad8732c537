"""The engine `slurm`: an array job, a task a trial. Uses submitit, of the extra `slurm`.

All nodes must see the sweep's folder and have this environment.
"""

import os
import pathlib
import signal
from collections.abc import Iterator, Sequence

import submitit

from dtc_jax.errors import InputError, one_line
from dtc_jax.sweep import driver, jobs, local

_DEFAULTS = {"name": "dtc-jax", "timeout_min": 24 * 60, "gpus_per_node": 1, "cpus_per_task": 4}
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(
    todo: Sequence[jobs.Job],
    retries: int,
    look: jobs.Look,
    resources: jobs.Resources,
    cluster: str = "slurm",
) -> Iterator[jobs.Outcome]:
    """Submits `todo` as an array job, and those that failed again; see `jobs`.

    Args:
      todo: the jobs.
      retries: how often a job that failed is submitted again.
      look: see `jobs`.
      resources: of each; `resources.slurm` takes the place of the defaults above.
      cluster: of submitit; 'local' runs the tasks on this machine, all at once.

    Raises:
      InputError: Slurm is not here, or it refuses the parameters.
      Stopped: a signal came; the trials that ran have saved their state.
    """
    if not todo:
        return
    executor = _executor(todo[0].log.parent / "slurm", resources, cluster)

    def start(batch: Sequence[jobs.Job]) -> list[_Task]:
        try:
            with executor.batch():
                tasks = [executor.submit(_attempt, job, os.getcwd()) for job in batch]
        except (OSError, RuntimeError, submitit.core.utils.FailedJobError) as error:
            raise InputError(f"--engine=slurm: cannot be submitted ({error}).") from error
        return [_Task(task) for task in tasks]

    yield from driver.drive(todo, retries, look, start)


def _executor(
    folder: pathlib.Path, resources: jobs.Resources, cluster: str
) -> submitit.AutoExecutor:
    wanted = _DEFAULTS | ({"cpus_per_task": resources.cores} if resources.cores else {})
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**wanted | dict(resources.slurm))
    except (NameError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"--engine=slurm: {one_line(error, 300)}") from error
    return executor


def _attempt(job: jobs.Job, folder: str) -> int:
    """Runs in the task: the trial in a process of its own, which gets its signals."""
    os.chdir(folder)
    child = local.Child(job.command, job.log)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: child.stop())
    return child.wait()


class _Task:
    """`driver.Process` of a task."""

    def __init__(self, task: submitit.Job[int]):
        self._task = task

    def poll(self) -> int | None:
        if not self._task.done():
            return None
        try:
            return self._task.result()
        except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError):
            return jobs.KILLED  # by Slurm: memory, time, a node, or scancel

    def has_started(self) -> bool:
        return self._task.paths.stdout.exists()

    def stop(self) -> None:
        self._task.cancel(check=False)

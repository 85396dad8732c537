"""The seam between a sweep and the engine that runs its trials: jobs in, outcomes out.

An engine is a function (jobs, retries, look) -> iterator of outcomes, in any order, and one line in
`engines`. It starts the command of each job in a process of its own, and starts it again where it
fails: the command goes on from the last checkpoint. It calls `look` with the jobs that run, every
second or so. If a signal comes, it passes it on, waits until the trials have saved their state, and
raises `Stopped`. All of that is `driver.drive`; an engine says where a process runs.
"""

import dataclasses
import pathlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dtc_jax.errors import Stopped, UsageError

DONE, KILLED = 0, -int(signal.SIGKILL)
_PROGRAMS = ("launch.py: ", "dtc-jax: ")  # begin a message


@dataclasses.dataclass(frozen=True)
class Job:
    """A trial as an engine sees it.

    Attributes:
      name: of the trial.
      command: starts it, or goes on with it.
      workdir: of its run.
      log: file that gets what it prints.
    """

    name: str
    command: tuple[str, ...]
    workdir: pathlib.Path
    log: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
      name: of the job.
      code: exit code of its last attempt; negative: the signal that ended it.
      message: why it failed; '' if it did not.
      attempts: how often it was started.
      seconds: of all attempts.
    """

    name: str
    code: int
    message: str
    attempts: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Resources:
    """What an engine gives to each trial, and where.

    Attributes:
      share: of a GPU; memory is shared alike.
      cores: of the CPU; None for the engine's own default.
      ray_address: of a Ray cluster; '' starts Ray on this machine.
      slurm: parameters of submitit, such as slurm_partition and timeout_min.
    """

    share: float = 1.0
    cores: int | None = None
    ray_address: str = ""
    slurm: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Look = Callable[[Sequence[Job]], None]
Engine = Callable[[Sequence[Job], int, Look], Iterator[Outcome]]


def is_final(code: int, attempts: int, retries: int) -> bool:
    """Whether a job is not to be started again: it is done, used wrongly, or has had its tries."""
    return code in (DONE, UsageError.exit_code) or attempts > retries


def message(code: int, log: pathlib.Path, start: int = 0) -> str:
    """Why a job failed, in one line: our own message, else the last line that it printed.

    Args:
      code: its exit code; negative: the signal that ended it.
      log: what it printed.
      start: where in `log` its last attempt begins, in bytes.
    """
    if code == DONE:
        return ""
    if code < 0:
        # A real-time signal has no name.
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        memory = "; the machine may have run out of memory" if code == KILLED else ""
        return f"ended by {name}{memory}"
    said = []
    if log.exists():
        with log.open("rb") as handle:
            handle.seek(start)
            lines = handle.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
    ours = [line.partition(": ")[2] for line in said if line.startswith(_PROGRAMS)]
    return (ours or said or [f"exit code {code}"])[-1]


def stopped(name: str) -> Stopped:
    """What an engine raises once a signal, `name`, has ended its trials."""
    return Stopped(
        f"Stopped by {name}; the trials that ran are saved. Run the same command again to go on "
        "with what is missing."
    )

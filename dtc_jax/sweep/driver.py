"""What all engines share: to start jobs, look at them, try them again, and pass a signal on."""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from dtc_jax.sweep import jobs
from dtc_jax.training import interrupt

SECONDS = 0.5  # between two looks


class Process(Protocol):
    """An attempt at a job, wherever it runs."""

    def poll(self) -> int | None:
        """Its exit code as `Outcome` has it; None while it runs or waits for its turn."""

    def has_started(self) -> bool:
        """Whether it runs, or has run; False while it waits for its turn."""

    def stop(self) -> None:
        """Asks it to save its state and to end; one that waits for its turn never starts."""


Start = Callable[[Sequence[jobs.Job]], Sequence[Process]]


@dataclasses.dataclass
class _Attempt:
    job: jobs.Job
    process: Process
    log_start: int
    number: int
    first: float  # seconds, when the first attempt began


def drive(
    todo: Sequence[jobs.Job],
    retries: int,
    look: jobs.Look,
    start: Start,
    slots: int | None = None,
) -> Iterator[jobs.Outcome]:
    """Runs `todo`; see `jobs`.

    Args:
      todo: in the order to start them.
      retries: how often a job that failed is started again.
      look: called with the jobs that run.
      start: starts jobs, all at once.
      slots: how many are started at a time; None where the engine has them wait itself.

    Raises:
      Stopped: a signal came; the trials that ran have saved their state.
    """
    waiting = collections.deque(todo)
    running: list[_Attempt] = []
    before: dict[str, _Attempt] = {}  # of jobs that are started again
    with interrupt.watch() as stop:
        try:
            told = False
            while waiting or running:
                if stop and not told:
                    for attempt in running:
                        attempt.process.stop()
                    told = True
                free = len(waiting) if slots is None else slots - len(running)
                if not stop:
                    batch = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                    running += _started(batch, start, before)
                for attempt in list(running):
                    code = attempt.process.poll()
                    if code is None:
                        continue
                    running.remove(attempt)
                    if stop and code != jobs.DONE:
                        continue
                    if jobs.is_final(code, attempt.number, retries):
                        yield _outcome(attempt, code)
                    else:
                        before[attempt.job.name] = attempt
                        waiting.appendleft(attempt.job)
                if stop and not running:
                    raise jobs.stopped(stop.name)
                if running:
                    look([a.job for a in running if a.process.has_started()])
                    time.sleep(SECONDS)
        finally:
            for attempt in running:  # `look` has failed, or the caller has
                attempt.process.stop()
            while any(attempt.process.poll() is None for attempt in running):  # while they save
                time.sleep(SECONDS)


def _started(
    batch: Sequence[jobs.Job], start: Start, before: dict[str, _Attempt]
) -> list[_Attempt]:
    if not batch:
        return []
    places = [job.log.stat().st_size if job.log.exists() else 0 for job in batch]
    attempts = []
    for job, process, place in zip(batch, start(batch), places, strict=True):
        last = before.get(job.name)
        number, first = (last.number + 1, last.first) if last else (1, time.monotonic())
        attempts.append(_Attempt(job, process, place, number, first))
    return attempts


def _outcome(attempt: _Attempt, code: int) -> jobs.Outcome:
    said = jobs.message(code, attempt.job.log, attempt.log_start)
    seconds = time.monotonic() - attempt.first
    return jobs.Outcome(attempt.job.name, code, said, attempt.number, seconds)

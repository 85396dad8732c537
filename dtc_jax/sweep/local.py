"""The engine `local`: one trial after another, on this machine, each in a process of its own."""

import os
import pathlib
import subprocess
import time
from collections.abc import Iterator, Sequence

from dtc_jax import storage
from dtc_jax.sweep import jobs
from dtc_jax.training import interrupt

_SECONDS = 0.5  # between two looks


def run(todo: Sequence[jobs.Job], retries: int, look: jobs.Look) -> Iterator[jobs.Outcome]:
    """Runs `todo` in their order; see `jobs`.

    Raises:
      Stopped: a signal came; the trial that ran has saved its state.
    """
    with interrupt.watch() as stop:
        for job in todo:
            yield _until_final(job, retries, look, stop)


def _until_final(
    job: jobs.Job, retries: int, look: jobs.Look, stop: interrupt.Interrupt
) -> jobs.Outcome:
    attempts, begin = 0, time.monotonic()
    while True:
        attempts += 1
        start = job.log.stat().st_size if job.log.exists() else 0
        code = _attempt(job, look, stop)
        if stop and code != jobs.DONE:
            raise jobs.stopped(stop.name)
        if jobs.is_final(code, attempts, retries):
            seconds = time.monotonic() - begin
            said = jobs.message(code, job.log, start)
            return jobs.Outcome(job.name, code, said, attempts, seconds)


def _attempt(job: jobs.Job, look: jobs.Look, stop: interrupt.Interrupt) -> int:
    """Starts the job, waits for its end, and returns its exit code."""
    if stop:
        raise jobs.stopped(stop.name)
    with _appended(job.log) as log:
        # A session of its own: Ctrl-C reaches it through this process, once.
        process = subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    told = False
    try:
        while True:
            if stop and not told:
                process.terminate()
                told = True
            try:
                return process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                look([job])
    finally:
        if process.poll() is None:  # `look` has failed
            process.terminate()
            process.wait()


def _appended(path: pathlib.Path):
    with storage.no_space_is_an_input_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), "ab")

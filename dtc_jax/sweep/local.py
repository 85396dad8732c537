"""The engine `local`: one trial after another, on this machine, each in a process of its own."""

import os
import pathlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from dtc_jax import storage
from dtc_jax.sweep import driver, jobs, lifeline


def run(todo: Sequence[jobs.Job], retries: int, look: jobs.Look) -> Iterator[jobs.Outcome]:
    """Runs `todo` in their order; see `jobs`.

    Raises:
      Stopped: a signal came; the trial that ran has saved its state.
    """
    return driver.drive(todo, retries, look, _start, slots=1)


def _start(batch: Sequence[jobs.Job]) -> list["Child"]:
    return [Child(job.command, job.log) for job in batch]


class Child:
    """A command in a process of its own on this machine; what it prints is added to a file.

    A training saves its state and ends if this process is gone, see `lifeline`.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: pathlib.Path,
        environment: Mapping[str, str] | None = None,
    ):
        """Starts it.

        Args:
          command: to run.
          log: gets what it prints.
          environment: variables that it gets besides those of this process.
        """
        with storage.no_space_is_an_input_error(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            file = os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), "ab")
        self._lifeline = lifeline.Lifeline()
        try:
            with file:
                # A session of its own: Ctrl-C reaches it through this process, once.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=os.environ | dict(environment or {}) | self._lifeline.environment,
                    pass_fds=[self._lifeline.reading],
                    start_new_session=True,
                )
        except OSError:
            self._lifeline.close()
            raise
        finally:
            self._lifeline.close_reading_end()

    def poll(self) -> int | None:
        """Its exit code; negative: the signal that ended it; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._lifeline.close()
        return code

    def has_started(self) -> bool:
        """At once."""
        return True

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait()
        self._lifeline.close()
        return code

    def stop(self) -> None:
        """Asks it to save its state and to end."""
        if self._process.poll() is None:
            self._process.terminate()

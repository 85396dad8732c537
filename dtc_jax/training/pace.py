"""How fast training runs, without compilation, evaluations and checkpoints, and in what memory."""

import contextlib
import math
import pathlib
import resource
import sys

import jax

_MEASURED = 3  # steps after the one that compiles, whose mean tells how long a step takes


class Pace:
    """Adds up the time of the steps since the last row of the log."""

    def __init__(self) -> None:
        self._has_compiled = False
        self._steps, self._examples, self._seconds, self._waited = 0, 0, 0.0, 0.0
        self._first: list[float] = []  # seconds of the first steps that are timed

    @property
    def is_measuring(self) -> bool:
        """Whether the first steps are being timed, each of which must have ended when added."""
        return len(self._first) < _MEASURED

    def step_seconds(self) -> float:
        """Seconds of a step, the mean of the first ones; NaN before they are timed."""
        return math.nan if self.is_measuring else sum(self._first) / len(self._first)

    def add(self, seconds: float, examples: int = 0, waited: float = 0.0) -> None:
        """Counts a step of so many examples, or time spent waiting for steps (0 examples).

        The first step of a process compiles and is left out.

        Args:
          seconds: of the step, reading included.
          examples: of the step.
          waited: the part of them spent on reading, if the devices had nothing left to do then.
        """
        if self._has_compiled:
            self._seconds += seconds
            self._waited += waited
            self._steps += examples > 0
            self._examples += examples
            if examples and self.is_measuring:
                self._first.append(seconds)
        self._has_compiled = self._has_compiled or examples > 0

    def take(self) -> dict[str, float]:
        """The pace since the last call; {} without a timed step.

        Returns:
          steps_per_second, examples_per_second, and wait_share: at most this share of the time
          the devices waited for a batch.
        """
        steps, examples, seconds, waited = self._steps, self._examples, self._seconds, self._waited
        self._steps, self._examples, self._seconds, self._waited = 0, 0, 0.0, 0.0
        if not steps or not seconds:
            return {}
        return {
            "steps_per_second": steps / seconds,
            "examples_per_second": examples / seconds,
            "wait_share": waited / seconds,
        }


def peak_memory() -> int:
    """The most bytes in use so far: of the first device, or on a CPU of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats["peak_bytes_in_use"] if "peak_bytes_in_use" in stats else _peak_of_process())


def _peak_of_process() -> int:
    # On Linux, what getrusage says is at least the peak of the process that started this one.
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 2**10
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

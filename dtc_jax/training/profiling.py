"""A trace of a few training steps, which the profiler of TensorBoard or XProf opens."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from dtc_jax.storage import PathLike

FOLDER = "profile"


class Profile:
    """Traces steps of one call of `fit` into WORKDIR/profile. Use it in a `with` block.

    The first step of a process compiles, so the trace begins with the second.
    """

    def __init__(self, workdir: PathLike, steps: int):
        """Args: workdir: of the run. steps: to be traced; 0 for none."""
        self._folder = pathlib.Path(workdir) / FOLDER
        self._left, self._is_first, self._is_on = steps, True, False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop()

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[bool]:
        """Wraps the step of that number; yields whether it is traced, and must be waited for."""
        if self._is_first or not self._left:
            self._is_first = False
            yield False
            return
        if not self._is_on:
            jax.profiler.start_trace(str(self._folder))
            self._is_on = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield True
        self._left -= 1
        if not self._left:
            self._stop()

    def _stop(self) -> None:
        if self._is_on:
            jax.profiler.stop_trace()
            self._is_on = False

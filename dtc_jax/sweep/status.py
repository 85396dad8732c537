"""How a sweep stands, while it runs: trial, step, validation figure, time left."""

import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

import ml_collections

from dtc_jax import progress as progress_lib
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.progress import Live
from dtc_jax.sweep.jobs import Job, Outcome
from dtc_jax.sweep.plan import Trial
from dtc_jax.tasks import inputs
from dtc_jax.training import logs

_SECONDS = 2.0  # between two looks into the work directories

Progress = Callable[[pathlib.Path, ml_collections.ConfigDict], tuple[float, str]]


class Status:
    """Looks at the trials that run, shows them as a table, and says how they ended."""

    def __init__(
        self, live: Live, trials: Sequence[Trial], done: int, progress: Progress | None = None
    ):
        """Starts the clock.

        Args:
          live: where the table is shown.
          trials: all of the sweep.
          done: how many of them were finished before.
          progress: of a trial, from its work directory and configuration: the share that is done,
            and text; default that of its training.
        """
        self._live, self._total = live, len(trials)
        self._progress = progress or of_training
        self._trials = {trial.name: trial for trial in trials}
        self._width = max(map(len, self._trials))
        self._ended, self._before = done, done
        self._first = dict[str, tuple[float, float]]()  # share that was done, and when
        self._start = self._last = time.monotonic()

    def look(self, running: Sequence[Job]) -> None:
        """Shows the trials that were started: step, validation figure, time left."""
        now = time.monotonic()
        if now - self._last < _SECONDS:
            return
        self._last = now
        shares, lines = [], []
        for job in running:
            share, text = self._progress(job.workdir, self._trials[job.name].config)
            before, since = self._first.setdefault(job.name, (share, now))
            shares.append(share)
            left = _left(now - since, share - before, 1 - share)
            lines.append(f"  {job.name:<{self._width}}  {text}{left}")
        worked = self._ended - self._before + sum(shares)
        worked -= sum(share for share, _ in self._first.values())
        left = _left(now - self._start, worked, self._total - self._ended - sum(shares))
        self._live.show(f"{self._ended} of {self._total} trials have ended{left}", *lines)

    def end(self, outcome: Outcome) -> None:
        """Says how a trial ended."""
        self._ended += 1
        state = f"failed: {outcome.message}" if outcome.code else f"{outcome.seconds:.0f} s"
        tries = f", {outcome.attempts} attempts" if outcome.attempts > 1 else ""
        self._live.say(f"trial {self._ended}/{self._total}: {outcome.name}: {state}{tries}")


def _left(seconds: float, done: float, todo: float) -> str:
    """The time left, where so much was done in so many seconds; '' where little was."""
    if done < 0.02:
        return ""
    return progress_lib.time_left(seconds / done * todo)


def of_training(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> tuple[float, str]:
    """How much of a run is done, a share, and its last step and validation figure as text."""
    networks = max(make_rule(config.split).folds, 1) * inputs.trained_networks(config)
    variants = inputs.variants(config)
    figure, monitor = "", f"validation/{config.train.monitor}"
    newest, share = (0.0, 0), 0.0
    for folder in _logged(workdir):
        rows = logs.read(folder)
        if not rows:
            continue
        epochs = inputs.epochs(variants.get(_candidate(folder, workdir), config))
        share += min(rows[-1]["epoch"] / max(epochs, 1), 1.0) / networks
        when = ((folder / "metrics.jsonl").stat().st_mtime, rows[-1]["step"])
        if when > newest:
            newest = when
            values = [row[monitor] for row in rows if row.get(monitor) is not None]
            figure = f", {monitor} {values[-1]:.3f}" if values else ""
    return share, f"step {newest[1]}{figure}" if newest[1] else "starts"


def _candidate(folder: pathlib.Path, workdir: pathlib.Path) -> str:
    """The candidate of whose training a folder of a run is; '' where there are none."""
    parts = folder.relative_to(workdir).parts
    return parts[parts.index("candidates") + 1] if "candidates" in parts else ""


def _logged(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folders below `workdir` with a metrics.jsonl.

    Checkpoints are left out: their folders are renamed and removed while one looks.
    """
    for folder, below, names in os.walk(workdir):
        below[:] = sorted(name for name in below if name != "checkpoints")
        if "metrics.jsonl" in names:
            yield pathlib.Path(folder)

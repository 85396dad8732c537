"""How a sweep stands, while it runs: trial, step, validation figure, time left."""

import pathlib
import time
from collections.abc import Sequence

import ml_collections

from dtc_jax.progress import Live
from dtc_jax.sweep.jobs import Job, Outcome
from dtc_jax.sweep.plan import Trial
from dtc_jax.tasks import inputs
from dtc_jax.training import logs

_SECONDS = 2.0  # between two looks into the work directories


class Status:
    """Looks at the trials that run, and says how they ended."""

    def __init__(self, live: Live, trials: Sequence[Trial], done: int):
        """Starts the clock.

        Args:
          live: where the status is shown.
          trials: all of the sweep.
          done: how many of them were finished before.
        """
        self._live, self._total = live, len(trials)
        self._trials = {trial.name: trial for trial in trials}
        self._ended, self._before, self._first = done, done, dict[str, float]()
        self._start = self._last = time.monotonic()

    def look(self, running: Sequence[Job]) -> None:
        """Shows the trials that run."""
        now = time.monotonic()
        if now - self._last < _SECONDS:
            return
        self._last = now
        shares, parts = [], []
        for job in running:
            share, text = progress(job.workdir, self._trials[job.name].config)
            self._first.setdefault(job.name, share)
            shares.append(share)
            parts.append(f"{job.name} {text}")
        head = f"trial {min(self._ended + len(running), self._total)}/{self._total}"
        self._live.show(f"{head}: {'; '.join(parts)}{self._left(now, sum(shares))}")

    def end(self, outcome: Outcome) -> None:
        """Says how a trial ended."""
        self._ended += 1
        state = f"failed: {outcome.message}" if outcome.code else f"{outcome.seconds:.0f} s"
        tries = f", {outcome.attempts} attempts" if outcome.attempts > 1 else ""
        self._live.say(f"trial {self._ended}/{self._total}: {outcome.name}: {state}{tries}")

    def _left(self, now: float, running: float) -> str:
        """The time left, as if all trials took alike; what an earlier call did took none."""
        resumed = sum(self._first.values())
        worked = self._ended - self._before + running - resumed
        if worked < 0.02:
            return ""
        left = (now - self._start) / worked * (self._total - self._ended - running)
        return f"  {left:.0f} s left" if left < 600 else f"  {left / 60:.0f} min left"


def progress(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> tuple[float, str]:
    """How much of a run is done, a share, and its last step and validation figure as text."""
    folds, candidates = max(config.split.folds, 1), max(len(config.candidates), 1)
    networks = folds * candidates * inputs.networks(config)
    figure, monitor = "", f"validation/{config.train.monitor}"
    newest, share = (0.0, 0), 0.0
    for path in workdir.rglob("metrics.jsonl"):
        rows = logs.read(path.parent)
        if not rows:
            continue
        share += min(rows[-1]["epoch"] / config.train.epochs, 1.0) / networks
        if (when := (path.stat().st_mtime, rows[-1]["step"])) > newest:
            newest = when
            values = [row[monitor] for row in rows if row.get(monitor) is not None]
            figure = f", {monitor} {values[-1]:.3f}" if values else ""
    return share, f"step {newest[1]}{figure}" if newest[1] else "starts"

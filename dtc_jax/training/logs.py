"""What a run reports while it runs: metrics.jsonl, TensorBoard event files, and a sign of life.

metrics.jsonl has one row for each log or evaluation: `step`, `epoch`, `seconds` (of training so
far, over all restarts) and the metrics, prefixed by their split, such as `validation/auc`. Rows of
training also have `learning_rate` (of the last step), `steps_per_second`, `examples_per_second`,
`wait_share` (how much of the time the devices waited for a batch, at most), `peak_memory` (bytes)
and the global norms of gradient, update and parameters. An experiment tracker gets the same rows.
"""

import json
import math
import os
import pathlib
import sys
import time
from typing import Any

import tqdm

from dtc_jax import progress
from dtc_jax.storage import PathLike, no_space_is_an_input_error
from dtc_jax.training.tracker import Track

_FILE = "metrics.jsonl"
# How the names of those end that differ between two calls of one run.
_CLOCK = ("seconds", "_second", "wait_share", "peak_memory")
# In the files, but not in the line on the terminal.
_UNSHOWN = (
    *("learning_rate", "update_norm", "param_norm"),
    *("examples_per_second", "wait_share", "peak_memory"),
)


def read(workdir: PathLike) -> list[dict[str, Any]]:
    """The rows of `workdir`/metrics.jsonl; a torn last line is left out."""
    rows = []
    try:
        text = (pathlib.Path(workdir) / _FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def without_clock(workdir: PathLike) -> list[dict[str, Any]]:
    """The rows of `read` without what differs between two calls of one run."""
    rows = read(workdir)
    return [{k: v for k, v in row.items() if not k.endswith(_CLOCK)} for row in rows]


class Logs:
    """Writes the rows of one run. Use it in a `with` block.

    Attributes:
      rows: how many rows metrics.jsonl has.
    """

    def __init__(
        self,
        workdir: PathLike,
        *,
        step: int,
        rows: int,
        total_steps: int,
        steps_per_epoch: int,
        seconds: float,
        track: Track = lambda step, metrics: None,
    ):
        """Goes on at `step` after `rows` rows; whatever a killed run wrote after them is dropped.

        Args:
          workdir: where metrics.jsonl and the folder tensorboard/ lie.
          step: updates done so far.
          rows: rows of metrics.jsonl to keep.
          total_steps: updates until the end, for the time left.
          steps_per_epoch: updates in an epoch.
          seconds: seconds of training done so far.
          track: gets the step and the metrics of each row.

        Raises:
          InputError: the disk is full.
        """
        import tensorboardX  # takes a second, which readers of logs need not wait

        workdir = pathlib.Path(workdir)
        self._path = workdir / _FILE
        self._total, self._steps_per_epoch = total_steps, steps_per_epoch
        self._first_seconds, self._start, self._track = seconds, time.monotonic(), track
        self._timed_from: tuple[int, float] | None = None
        with no_space_is_an_input_error(self._path):
            workdir.mkdir(parents=True, exist_ok=True)
            self.rows = _truncate(self._path, rows)
            self._file = self._path.open("a", encoding="utf-8")
            self._events = tensorboardX.SummaryWriter(
                str(workdir / "tensorboard"),
                purge_step=step + 1 if step else None,
                filename_suffix=f".{step}",  # two starts within a second must not share a file
            )
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=total_steps, initial=step, desc="train", leave=False)

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar is not None:
            self._bar.close()
        self._events.close()
        self._file.close()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all restarts."""
        return self._first_seconds + time.monotonic() - self._start

    def advance(self, step: int) -> None:
        """Moves on to `step`. The first one compiles, so the time left is estimated from there."""
        if self._timed_from is None:
            self._timed_from = step, time.monotonic()
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def write(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Adds a row; a value that is not finite is written as null.

        Raises:
          InputError: the disk is full.
        """
        named = {f"{split}/{name}": float(value) for name, value in sorted(metrics.items())}
        row = {
            "step": step,
            "epoch": round(step / self._steps_per_epoch, 3),
            "seconds": round(self.seconds, 3),
            **{name: value if math.isfinite(value) else None for name, value in named.items()},
        }
        with no_space_is_an_input_error(self._path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
            for name, value in named.items():
                self._events.add_scalar(name, value, step)
            self._events.flush()
        self._track(step, named)
        self.rows += 1
        shown = "  ".join(
            f"{name} {value:.4g}"
            for name, value in named.items()
            if not name.endswith(tuple(f"/{unshown}" for unshown in _UNSHOWN))
        )
        self.say(f"step {step}/{self._total}  epoch {row['epoch']:.4g}  {shown}{self._left(step)}")

    def say(self, line: str) -> None:
        """Prints a line to stderr, above the progress bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def _left(self, step: int) -> str:
        """The time left, where no progress bar shows it."""
        if self._bar is not None or self._timed_from is None or step >= self._total:
            return ""
        first_step, start = self._timed_from
        if step == first_step:
            return ""
        left = (time.monotonic() - start) / (step - first_step) * (self._total - step)
        return progress.time_left(left)


class Silent:
    """What `Logs` is to a process that writes none of it."""

    rows, seconds = 0, 0.0

    def advance(self, step: int) -> None:
        """Does nothing."""

    def say(self, line: str) -> None:
        """Does nothing."""

    def write(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Does nothing."""


Log = Logs | Silent


def _truncate(path: pathlib.Path, rows: int) -> int:
    """Cuts the file after at most `rows` whole lines and says how many there are."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines[:rows] if line.endswith(b"\n")]
    if len(kept) < len(lines):
        os.truncate(path, sum(map(len, kept)))
    return len(kept)

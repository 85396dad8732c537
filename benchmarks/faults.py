"""Kills a demo training again and again, and looks whether it ends bit for bit as one left alone.

    python -m benchmarks.faults --kills=20

A run is timed first. Moments are drawn evenly over its time, from the start of the process to the
last table; a second run of launch.py gets SIGKILL when it has come as far, and is started again.
Every fourth kill comes while it starts, which is when it goes on from its checkpoint. At last it is
left to end. The folders of both runs are kept in --out.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
import pandas as pd

from dtc_jax.training import checkpoint, logs, result

_FIELDS = (
    "train.epochs=12",
    "train.checkpoint_every_epochs=1",
    "train.evaluate_every_epochs=2",
    "train.log_every_steps=1",
    "model.width=8",
    "write_report=False",
)
_LOOK_SECONDS = 0.02
_Moment = tuple[int, float]


def _start(config: str, workdir: pathlib.Path, *fields: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "launch.py", f"--config={config}", f"--workdir={workdir}"]
    command += [f"--config.{field}" for field in (*_FIELDS, *fields)]
    with (workdir.parent / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)


def _left(workdir: pathlib.Path) -> dict[str, object]:
    """All that a finished run left, but for what the clock says."""
    best = result.read_best(workdir)
    return {
        "weights": {name: leaf.tobytes() for name, leaf in _flat((best.params, best.batch_stats))},
        "rows": logs.without_clock(workdir),
        # `run` is the name of the folder.
        "predictions": pd.read_csv(workdir / "predictions.csv").drop(columns="run").to_csv(),
        "steps": checkpoint.steps(workdir / "checkpoints"),
    }


def _flat(tree: object) -> list[tuple[str, np.ndarray]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(place), np.asarray(leaf)) for place, leaf in leaves]


def _rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The complete rows of metrics.jsonl so far."""
    with contextlib.suppress(FileNotFoundError):
        text = (workdir / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
    return []


def _written(workdir: pathlib.Path) -> int:
    """When metrics.jsonl was written last, in ns; 0 where it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return (workdir / "metrics.jsonl").stat().st_mtime_ns
    return 0


def _moments(alone: pathlib.Path, seconds: float, kills: int, seed: int) -> list[_Moment]:
    """When to kill: the step that has to be in the log, and the seconds after it."""
    draw = random.Random(seed)
    rows = _rows(alone)
    moments = []
    for moment in sorted(draw.uniform(0, seconds) for _ in range(kills)):
        if len(moments) % 4 == 3:
            moments.append((0, draw.uniform(0, rows[0]["seconds"])))
            continue
        step, since = 0, 0.0
        for row in rows:
            if row["seconds"] <= moment:
                step, since = row["step"], row["seconds"]
        moments.append((step, moment - since))
    return moments


def _kill(
    process: subprocess.Popen[bytes], workdir: pathlib.Path, moment: _Moment, start: float
) -> bool:
    """Waits for the moment and kills; whether the process had not ended before.

    Where the step of the moment is saved already, it is killed within its first `start` seconds.
    """
    step, seconds = moment
    before = _written(workdir)  # the rows of earlier processes do not count
    comes = step > max(checkpoint.steps(workdir / "checkpoints"), default=0)
    seconds = seconds if comes else seconds % start
    while comes and (
        _written(workdir) == before
        or step > max((row["step"] for row in _rows(workdir)), default=0)
    ):
        if process.poll() is not None:
            return False
        time.sleep(_LOOK_SECONDS)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def main() -> int:
    """Returns 0 where all is the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--config", default="configs/senet.py:demo")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/faults"))
    given = parser.parse_args()
    try:
        given.out.mkdir(parents=True)
    except FileExistsError:
        print(f"{given.out}: is there already, with runs that are finished; choose another --out.")
        return 1
    first, alone, killed = (given.out / name for name in ("first", "alone", "killed"))
    if _start(given.config, first, "train.epochs=1").wait():  # builds the data, and compiles
        print(f"A run without a kill failed; see {first}.log.")
        return 1
    begin = time.monotonic()
    if _start(given.config, alone).wait():
        print(f"The run without a kill failed; see {alone}.log.")
        return 1
    seconds = time.monotonic() - begin
    print(f"a run without a kill: {seconds:.0f} s, {_rows(alone)[-1]['step']} steps", flush=True)
    moments = _moments(alone, seconds, given.kills, given.seed)
    for number, moment in enumerate(moments, start=1):
        if not _kill(_start(given.config, killed), killed, moment, _rows(alone)[0]["seconds"]):
            print(f"It ended by itself before kill {number}; see {killed}.log.")
            return 1
        step = max((row["step"] for row in _rows(killed)), default=0)
        saved = max(checkpoint.steps(killed / "checkpoints"), default=0)
        print(f"kill {number}: at step {step}, checkpoint of step {saved}", flush=True)
    if code := _start(given.config, killed).wait():
        print(f"Failed with exit code {code} after {given.kills} kills; see {killed}.log.")
        return 1
    wanted, got = _left(alone), _left(killed)
    different = [name for name in wanted if wanted[name] != got[name]]
    print(f"{given.kills} kills; different at the end: {', '.join(different) or 'nothing'}")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())

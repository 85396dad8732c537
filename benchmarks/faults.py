"""Kills a demo training again and again, and looks whether it ends bit for bit as one left alone.

    python -m benchmarks.faults --kills=20

A process of launch.py gets SIGKILL a random time after its start, its import and its compilation
included, and is started again, until it has been killed so often; then it is left to end. The
folders of both runs are kept in --out.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd

from dtc_jax.training import checkpoint, result

_CLOCK = ("seconds", "_second", "peak_memory")  # what differs between two calls of one run
_FIELDS = (
    "train.epochs=12",
    "train.checkpoint_every_epochs=1",
    "train.evaluate_every_epochs=2",
    "train.log_every_steps=1",
    "model.width=8",
    "write_report=False",
)


def _start(config: str, workdir: pathlib.Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "launch.py", f"--config={config}", f"--workdir={workdir}"]
    command += [f"--config.{field}" for field in _FIELDS]
    with (workdir.parent / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)


def _left(workdir: pathlib.Path) -> dict[str, object]:
    """All that a finished run left, but for what the clock says."""
    best = result.read_best(workdir)
    rows = [
        {k: v for k, v in row.items() if not k.endswith(_CLOCK)}
        for row in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    ]
    return {
        "weights": {name: leaf.tobytes() for name, leaf in _flat((best.params, best.batch_stats))},
        "rows": rows,
        "predictions": pd.read_csv(workdir / "predictions.csv").to_csv(),
        "steps": checkpoint.steps(workdir / "checkpoints"),
    }


def _flat(tree: object) -> list[tuple[str, np.ndarray]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(place), np.asarray(leaf)) for place, leaf in leaves]


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
    alone, killed = given.out / "alone", given.out / "killed"
    begin = time.monotonic()
    if _start(given.config, alone).wait():
        print(f"The run without a kill failed; see {alone}.log.")
        return 1
    seconds = time.monotonic() - begin
    print(f"a run without a kill: {seconds:.0f} s", flush=True)
    moments, kills, starts = random.Random(given.seed), 0, 0
    while True:
        process = _start(given.config, killed)
        starts += 1
        try:
            code = process.wait(moments.uniform(0, seconds) if kills < given.kills else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            steps = checkpoint.steps(killed / "checkpoints")
            print(f"kill {kills}: newest checkpoint of step {max(steps, default=0)}", flush=True)
            continue
        if code:
            print(f"Failed with exit code {code} after {kills} kills; see {killed}.log.")
            return 1
        break
    wanted, got = _left(alone), _left(killed)
    different = [name for name in wanted if wanted[name] != got[name]]
    print(f"{kills} kills, {starts} starts; different at the end: {', '.join(different) or 'none'}")
    if kills < given.kills:
        print(f"The run ended before kill {kills + 1}; give a longer one.")
    return int(bool(different) or kills < given.kills)


if __name__ == "__main__":
    sys.exit(main())

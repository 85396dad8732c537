"""How long until training runs: from the start of the process to the first row of the log.

    python -m benchmarks.start [--repeats=5] [--config=senet:demo] [--compile=senet:demo,vnet:demo]

First the data are built and everything is compiled once. Then take turns: a start of `launch.py` in
a fresh folder with all that was compiled at hand, one with nothing compiled, and, where it is
installed, PyTorch: the same network and batch in its eager mode, up to the same step, but on noise
that lies in memory, without augmentation and without reading a record. Printed are medians of the
seconds by the clock and of the CPU (user and system), and their ratio to the warm start.

Then the training steps of `--compile` are compiled anew, in turns. Linux alone; 10 minutes.
How long a report takes is measured by `benchmarks.large_cohorts --stages=tables`.
"""

import argparse
import concurrent.futures
import functools
import importlib.metadata
import importlib.util
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax

from benchmarks import turns
from benchmarks.noise_step import Step, config_of
from benchmarks.turns import Seconds

_TORCH = """
import importlib, sys
import torch
from benchmarks import pytorch_networks
module, _, variant = sys.argv[1].partition(":")
config = importlib.import_module(f"configs.{module}").get_config(variant)
channels = 2 if config.preprocess.mask == "channel" else 1
network = pytorch_networks.make(config, channels)
optimizer = torch.optim.AdamW(network.parameters(), config.optimizer.learning_rate)
x = torch.rand(config.train.batch_size, channels, *map(int, config.preprocess.crop_mm))
y = (torch.arange(len(x)) % 2).float()
for step in range(config.train.log_every_steps):
    optimizer.zero_grad()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(network(x), y)
    loss.backward()
    optimizer.step()
print(f"step {step + 1}/ loss {loss.item():.3f}", file=sys.stderr, flush=True)
"""


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--config", default="senet:demo")
    parser.add_argument("--compile", default="senet:demo,vnet:demo")
    flags = parser.parse_args()
    print(f"{turns.machine('torch')}; medians of {flags.repeats}", flush=True)
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        _print(turns.in_turns(_starts(flags.config, pathlib.Path(folder)), flags.repeats))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        names = flags.compile.split(",")
        _print(pool.submit(_compiled, names, flags.repeats).result())


def _print(medians: dict[str, Seconds]) -> None:
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(
            f"{name:<40}{seconds.wall:8.1f} s{seconds.cpu:8.1f} s CPU   "
            f"x {seconds.wall / first.wall:.2f} by the clock, "
            f"x {seconds.cpu / first.cpu:.2f} of the CPU",
            flush=True,
        )


def _starts(name: str, folder: pathlib.Path) -> dict[str, Callable[[], Seconds]]:
    """The starts that take turns; the data and compiled code of the first are made."""
    module, _, variant = name.partition(":")
    train = [
        "launch.py",
        f"--config=configs/{module}.py:{variant}",
        f"--config.data.folder={folder / 'data'}",
    ]

    def ours(cache: str) -> Seconds:
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            compiled = folder / cache if cache else pathlib.Path(fresh, "cache")
            return _until_step([*train, f"--workdir={fresh}/run"], compiled)

    ours("cache")
    calls = {
        f"{name}, second start": lambda: ours("cache"),
        f"{name}, nothing compiled": lambda: ours(""),
    }
    if not turns.lacking("torch"):
        peer = ["-c", _TORCH, name]
        calls[f"PyTorch {importlib.metadata.version('torch')}, on noise"] = lambda: _until_step(
            peer, folder / "cache"
        )
    return calls


def _until_step(command: list[str], cache: pathlib.Path) -> Seconds:
    """Starts Python, waits for the first row of the log, and stops it."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start would compile Python's files
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("step "):
            seconds = Seconds(time.monotonic() - start, turns.cpu_seconds(process.pid))
            process.send_signal(signal.SIGINT)
            process.communicate()
            return seconds
    raise SystemExit("".join(["It ended before its first row.\n", *said[-20:]]))


def _compiled(names: list[str], repeats: int) -> dict[str, Seconds]:
    """Compiles the steps, in a process of its own."""
    jax.config.update("jax_compilation_cache_dir", None)

    def compiled(name: str) -> Seconds:
        lowered = Step(config_of(name)).lowered  # anew, as it remembers what it was compiled to
        return turns.timed(lowered.compile)

    calls = {f"compiling the step of {name}": functools.partial(compiled, name) for name in names}
    return turns.in_turns(calls, repeats)


if __name__ == "__main__":
    main()

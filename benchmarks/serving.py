"""Latency and throughput of a bundle's formats beside JAX, in one run.

    python -m benchmarks.serving BUNDLE RUN [--repeats=5] [--batches=1,8,32]

BUNDLE is of `--mode=export --workdir=RUN`. The formats take turns, so that a machine that slows
down slows all of them. Printed are medians. Each runtime uses as many threads as it likes.
"""

import argparse
import importlib.util
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dtc_jax.experiment import network
from dtc_jax.export import served

Call = Callable[[dict[str, np.ndarray]], Any]


def main() -> None:
    """Prints a table: batch, format, milliseconds, examples a second, largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", default="1,8,32")
    flags = parser.parse_args()
    calls = _calls(flags.bundle, flags.run)
    with np.load(flags.bundle / "contract" / "eight.npz") as file:
        cases = {name: array for name, array in file.items() if not name.startswith("expected")}
    for batch in map(int, flags.batches.split(",")):
        arrays = {
            name: np.resize(array, (batch, *array.shape[1:])) for name, array in cases.items()
        }
        answers = {name: call(arrays)["probability"] for name, call in calls.items()}
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(flags.repeats):
            for name, call in calls.items():
                start = time.perf_counter()
                call(arrays)
                seconds[name].append(time.perf_counter() - start)
        for name, values in seconds.items():
            median = statistics.median(values)
            away = abs(answers[name] - answers["jax"]).max()
            print(
                f"batch {batch:<4}{name:<11}{1e3 * median:9.1f} ms{batch / median:9.1f} examples/s"
                f"{away:10.1e}",
                flush=True,
            )


def _calls(bundle: pathlib.Path, run: pathlib.Path) -> dict[str, Call]:
    """The network of the run in JAX, and each model of the bundle by its own client."""
    spec = importlib.util.spec_from_file_location("client", bundle / "client.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{bundle}: has no client.py; give a bundle of --mode=export.")
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    trained = network.load(run)
    if not trained.task.finds_lesions:
        trained = network.load_with_threshold(run, trained.config.task)
    in_jax = served.make(trained)
    calls: dict[str, Call] = {"jax": lambda arrays: in_jax.on_cpu(*arrays.values())}
    for kind in client.describe(bundle)["models"]:
        if kind != "safetensors":
            calls[kind] = client.load(bundle, kind)
    return calls


if __name__ == "__main__":
    main()

"""Latency and throughput of the serving formats beside JAX and PyTorch, in one run.

    python -m benchmarks.serving [--networks=senet:demo,vnet:demo,senet] [--format=onnx,stablehlo]
      [--batches=1,8,32] [--repeats=5 or, of each size of batch, 5,5,2]

The networks have the shape of the named configurations and random weights, without mirror images.
For each network and size of batch, a first call compiles. Then the formats take turns, so that a
machine that slows down slows all of them. Printed are medians, the shortest time of the CPU, and
the largest difference in probability from JAX. All begin with HU and end with the probability; ONNX
Runtime and TensorFlow compute heat maps as well, which they never leave out.
PyTorch, where it is installed, runs eagerly, in its default layout (`pytorch`) and in the one that
is often faster (`channels_last`, its channels_last_3d).
Each runtime uses as many threads as it likes. Where others work on the machine, time of the CPU
says more than that by the clock, and the shortest more than the median, since others can make a
call no faster; with `taskset -c 0` in front, on one core, they say most.
"""

import argparse
import importlib
import importlib.util
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from benchmarks import turns
from dtc_jax import storage
from dtc_jax.export import formats, interface, served, weights
from dtc_jax.imaging.preprocess import preprocess
from dtc_jax.serving.bundled import client
from dtc_jax.tasks import registry
from dtc_jax.tasks.trained import Member, TrainedNetwork

Call = Callable[[dict[str, np.ndarray]], np.ndarray]
NETWORKS = ("senet:demo", "vnet:demo", "senet")  # the last has the paper's width
_LAYOUTS = {"pytorch": "contiguous_format", "channels_last": "channels_last_3d"}


def main() -> None:
    """Prints a table: network, batch, format, the times, examples a second, difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--format", default="")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--repeats", default="5")
    flags = parser.parse_args()
    batches, repeats = (
        [int(number) for number in given.split(",")] for given in (flags.batches, flags.repeats)
    )
    if len(repeats) not in (1, len(batches)):
        parser.error("--repeats: give one number, or one for each of --batches.")
    turns_of = dict(zip(batches, repeats * (len(batches) if len(repeats) == 1 else 1), strict=True))
    kinds = formats.choose([kind for kind in flags.format.split(",") if kind])
    print(f"{turns.machine('torch')}; medians of {flags.repeats} turns", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.networks.split(","):
            one = _served(name)
            calls = _calls(one, pathlib.Path(folder, name.replace(":", "-")), kinds)
            for batch in batches:
                arrays = _arrays(one, batch)
                answers = {kind: call(arrays) for kind, call in calls.items()}
                for kind, times in _seconds(calls, arrays, turns_of[batch]).items():
                    _print(name, batch, kind, times, abs(answers[kind] - answers["jax"]).max())


def _print(
    name: str, batch: int, kind: str, times: tuple[float, float, float], away: float
) -> None:
    """A row of the table."""
    wall, cpu, least = times
    print(
        f"{name:<12}batch {batch:<4}{kind:<14}{1e3 * wall:9.1f} ms"
        f"{1e3 * cpu:9.1f} ms CPU, at least {1e3 * least:9.1f}"
        f"{batch / wall:9.1f} examples/s{away:9.1e}",
        flush=True,
    )


def _served(name: str) -> served.Served:
    """A network of a configuration, such as 'senet:demo', with random weights."""
    module, _, variant = name.partition(":")
    config = importlib.import_module(f"configs.{module}").get_config(variant).unlock()
    config.predict.mirror = False
    task = registry.of(config)
    init = jax.jit(task.make_task(config).init)
    variables = jax.device_get(init(jax.random.key(0)))
    return served.make(TrainedNetwork(task, (Member(config, *variables, {}),), 0.5))


def _calls(one: served.Served, folder: pathlib.Path, kinds: Sequence[str]) -> dict[str, Call]:
    """The network in JAX, in each format by the bundle's own client, and in PyTorch."""
    network = one.network

    def in_jax(arrays: dict[str, np.ndarray]) -> np.ndarray:
        mask = arrays.get("mask", np.zeros_like(arrays["image"], np.uint8))
        return np.asarray(network.probability(arrays["image"], mask))

    calls: dict[str, Call] = {"jax": in_jax}
    models = formats.write(one, folder, kinds, "float32")
    described = interface.describe(one, models, "none", {})
    storage.write_json(folder / "preprocessing.json", described)
    for kind in models:
        if kind != "safetensors":
            calls[kind] = _by_client(client.load(folder, kind))
    if not turns.lacking("torch"):
        calls |= {kind: _pytorch(one, layout) for kind, layout in _LAYOUTS.items()}
    return calls


def _by_client(model: client.Model) -> Call:
    return lambda arrays: model(arrays, ["probability"])["probability"]


def _pytorch(one: served.Served, layout: str) -> Call:
    """The same in PyTorch, from HU on; its preprocessing is NumPy's.

    Args:
      one: the network.
      layout: of its memory, a name that `torch` has.
    """
    import torch

    from benchmarks import pytorch_networks

    network, config = one.network, one.network.config
    spec = network.task.make_predict_preprocess(config)
    module = pytorch_networks.make(config, spec.channels)
    pytorch_networks.load(module, weights.named(network), weights.pytorch_layout(network))
    memory_format = getattr(torch, layout)
    module = module.to(memory_format=memory_format)

    def call(arrays: dict[str, np.ndarray]) -> np.ndarray:
        mask = arrays.get("mask", np.zeros_like(arrays["image"], np.uint8))
        x = preprocess(arrays["image"], mask, spec, np)  # [B, D, H, W, C]
        with torch.inference_mode():
            given = torch.movedim(torch.from_numpy(x), -1, 1)
            given = given.contiguous(memory_format=memory_format)
            return module(given).sigmoid().numpy()

    return call


def _arrays(one: served.Served, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 400, (batch, *one.shape)).astype(np.int16)
    mask = (rng.random(image.shape) > 0.5).astype(np.uint8)
    return {"image": image, "mask": mask} if one.uses_mask else {"image": image}


def _seconds(
    calls: dict[str, Call], arrays: dict[str, np.ndarray], repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Of each call the medians by the clock and of the CPU, and its least; they take turns."""
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in calls}
    for _ in range(repeats):
        for kind, call in calls.items():
            start = time.perf_counter(), time.process_time()
            call(arrays)
            taken[kind].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {
        kind: (statistics.median(wall), statistics.median(cpu), min(cpu))
        for kind, values in taken.items()
        for wall, cpu in [zip(*values, strict=True)]
    }


if __name__ == "__main__":
    main()

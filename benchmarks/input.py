"""Crops from the disk to the device: does reading keep up with the training step?

    python -m benchmarks.input [--networks=senet:demo,senet] [--records=256] [--batches=24]
      [--repeats=5] [--steps=2]

Records of noise, which hardly compress, of the size that the configuration stores: read by Grain
from the built files, once decoded each time and once from memory, as in each epoch but the first;
and, where it is installed, by PyTorch's DataLoader from NumPy files, in as many processes as Grain
has threads. All of it lies in the memory of the operating system, as the files of small studies
do. Each gives shuffled batches on the device. Readers and the training step take turns. Printed
are medians: records a second, seconds of the CPU for a thousand records, and how many times as
fast as the step uses them up. What a reader has ready is taken before its clock starts.

Then the training step itself, `--steps` of them in a turn: on one batch that is ready, fed by Grain
from the host, and fed with the numbers of its rows in a set that is kept on the device
(`config.data.on_device`).
Linux alone; on two cores the step of `senet` takes most of half an hour, and that of `senet:demo`
two minutes.
"""

import argparse
import functools
import importlib
import importlib.metadata
import importlib.util
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from benchmarks import large_records, turns
from benchmarks.noise_step import Step, config_of
from dtc_jax.training import batches as batches_lib
from dtc_jax.training import resident
from dtc_jax.training.batches import Records, View
from dtc_jax.training.task import Batch


class NumpyFiles:
    """The crops as a dataset of PyTorch: two files each."""

    def __init__(self, folder: pathlib.Path, count: int):
        """Args: folder: with IMAGE.npy and MASK.npy. count: of the crops."""
        self._folder, self._count = folder, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> dict[str, Any]:
        image, mask = (np.load(self._folder / f"{name}{i}.npy") for name in ("image", "mask"))
        return {"image": image, "mask": mask, "label": np.float32(i % 2), "index": i}


def main() -> None:
    """Prints a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="senet:demo,senet")
    parser.add_argument("--records", type=int, default=256)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    flags = parser.parse_args()
    print(f"{turns.machine('torch')}, {jax.default_backend()}; medians of {flags.repeats}")
    for name in flags.networks.split(","):
        with tempfile.TemporaryDirectory(prefix="input-") as folder:
            _measure(name, pathlib.Path(folder), flags)


def _measure(name: str, folder: pathlib.Path, flags: argparse.Namespace) -> None:
    """Prints the rows of a network."""
    config, count, number = config_of(name), flags.records, flags.batches
    sides = tuple(config.data.size_mm)
    large_records.build(folder / "data", count, sides)
    step = Step(config)
    rows = config.train.batch_size
    trainings = _trainings(config, step, folder, count, flags.steps)
    readers = _readers(config, step, folder, count)
    calls = {name: lambda train=train: turns.timed(train) for name, train in trainings.items()} | {
        reader: lambda begin=begin: _read(begin(), number, 2 * config.data.workers)
        for reader, begin in readers.items()
    }
    medians = turns.in_turns(calls, flags.repeats)
    used = flags.steps * rows / medians["the training step"].wall
    print(f"{name}: records of {' x '.join(map(str, sides))} voxels, batches of {rows}")
    for reader, seconds in medians.items():
        done = rows * (flags.steps if reader in trainings else number)
        print(
            f"  {reader:<42}{done / seconds.wall:9.1f} records/s"
            f"{1000 * seconds.cpu / done:9.2f} s CPU for 1000"
            f"   x {done / seconds.wall / used:.1f} of the step",
            flush=True,
        )


def _trainings(
    config: ml_collections.ConfigDict, step: Step, folder: pathlib.Path, count: int, steps: int
) -> dict[str, Callable[[], None]]:
    """What makes so many training steps, by what feeds them; each is compiled."""
    records, state = Records(folder / "data", cache=True), step.state()
    view = View(np.arange(count), np.arange(count) % 2, np.ones(count))
    for i in range(count):
        records[i]  # decoded once
    ready = step.placed(step.batch())
    feeds: dict[str, Callable[[], Batch]] = {"the training step": lambda: ready}
    for name, on_device in (("host", resident.NEVER), ("set on the device", resident.ALWAYS)):
        made = resident.train_batches(
            records,
            view,
            config.train.batch_size,
            config.seed,
            config.data.workers,
            (0, 1),
            on_device=on_device,
        )
        kept = resident.placed(made, step.parallel, print)
        feeds[f"the step, fed from the {name}"] = lambda made=made, kept=kept: (
            step.placed(next(made)) | kept
        )

    def train(compiled: Callable[..., Any], feed: Callable[[], Batch], number: int) -> None:
        nonlocal state
        for _ in range(number):
            state, _ = compiled(state, feed())
        jax.block_until_ready(state)

    trainings, compiled = {}, {}
    for name, feed in feeds.items():
        kind = "set" in (batch := feed())
        if kind not in compiled:
            compiled[kind] = step.lowered_for(batch).compile()
        train(compiled[kind], feed, 1)
        trainings[name] = functools.partial(train, compiled[kind], feed, steps)
    return trainings


def _read(batches: Iterator[Any], number: int, ahead: int) -> turns.Seconds:
    """Reads so many batches, once the first ones, as many as a reader keeps ready, are taken."""
    for _ in range(1 + ahead):
        next(batches)

    def read() -> None:
        for _ in range(number):
            jax.block_until_ready(next(batches))

    return turns.timed(read)


def _readers(
    config: ml_collections.ConfigDict, step: Step, folder: pathlib.Path, count: int
) -> dict[str, Callable[[], Iterator[Any]]]:
    """What makes an endless iterator of batches on the device."""
    rows, workers = config.train.batch_size, config.data.workers
    view = View(np.arange(count), np.arange(count) % 2, np.ones(count))

    def grain(records: Records) -> Iterator[Any]:
        for batch in batches_lib.train_batches(records, view, rows, config.seed, workers):
            yield step.placed(batch)

    on_disk, in_memory = (Records(folder / "data", cache=cache) for cache in (False, True))
    for i in range(count):
        record = in_memory[i]
        for name in ("image", "mask"):
            np.save(folder / f"{name}{i}.npy", record[name])
    readers = {
        f"Grain, {workers} threads": lambda: grain(on_disk),
        "Grain, decoded before": lambda: grain(in_memory),
    }
    if not turns.lacking("torch"):
        readers[f"DataLoader, {workers} processes"] = lambda: _data_loader(
            NumpyFiles(folder, count), rows, workers, step
        )
    return readers


def _data_loader(files: NumpyFiles, rows: int, workers: int, step: Step) -> Iterator[Any]:
    """PyTorch's batches, over and over; on an accelerator they are put there as ours are."""
    loader = importlib.import_module("torch.utils.data").DataLoader(
        files,
        batch_size=rows,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="spawn",  # JAX has threads, which a fork would lose
    )
    while True:
        for batch in loader:
            if jax.default_backend() == "cpu":
                yield {name: tensor.numpy() for name, tensor in batch.items()}
            else:
                yield step.placed({name: tensor.numpy() for name, tensor in batch.items()})


if __name__ == "__main__":
    main()

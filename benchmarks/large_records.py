"""The stage `records` of `large_cohorts`."""

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from configs import senet
from datasets import prepare, records
from dtc_jax import storage
from dtc_jax.crops import extraction
from dtc_jax.experiment import folds
from dtc_jax.tasks.sources import Data
from dtc_jax.training import pace
from dtc_jax.training.batches import Records

_SIDE, _PART, _BATCH = 24, 50, 200
Sides = tuple[int, int, int]


@dataclasses.dataclass
class _Config(tfds.core.BuilderConfig):
    count: int = 0
    sides: Sides = (_SIDE,) * 3


class NoiseBuilder(records.RecordBuilder):
    """Records of noise in the range of HU."""

    VERSION = tfds.core.Version("1.0.0")

    @property
    def shape(self) -> Sequence[int]:
        """Voxels of a record along z, y, x."""
        return self.builder_config.sides

    def parts(self) -> tuple[Callable[[Any], list], Mapping[str, Sequence[Any]]]:
        """Ranges of numbers."""
        count = self.builder_config.count
        numbers = [range(i, min(i + _PART, count)) for i in range(0, count, _PART)]
        return functools.partial(_noise, self.builder_config.sides), {"lesions": numbers}


def _noise(sides: Sides, numbers: range) -> list[extraction.Record | Any]:
    return [_record(sides, number) for number in numbers]


def _record(sides: Sides, number: int) -> extraction.Record:
    rng = np.random.default_rng(number)
    image = rng.integers(-1000, 400, sides, np.int16)
    measures = {
        name: np.ones(3 if axes else (), np.float32) for name, axes in NoiseBuilder.MEASURES.items()
    }
    return {
        "image": image,
        "mask": rng.integers(0, 2, sides, np.uint8),
        "extent": np.array([[0, side] for side in sides], np.int32),
        "patient_id": f"P{number // 5}",
        "lesion_id": f"P{number // 5}-{number % 5}",
        **measures,
    }


def run(folder: pathlib.Path, count: int) -> None:
    """Builds the records, trains an epoch, and prints the peak of memory of both."""
    context = multiprocessing.get_context("spawn")
    print("| | s | peak memory, GB |\n|---|---|---|", flush=True)
    for name, work in (("building, with reading back", _build), ("one epoch of training", _train)):
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            seconds, peak = pool.submit(work, folder, count).result()
        print(f"| {name} | {seconds:.0f} | {peak / 1e9:.2f} |", flush=True)
    raw = count * _SIDE**3 * 3 / 1e9
    stored = sum(path.stat().st_size for path in (folder / "data").iterdir()) / 1e9
    rows = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    peaks = {row["step"]: row["train/peak_memory"] / 1e9 for row in map(json.loads, rows)}
    print(f"{count} records: {raw:.1f} GB in memory, {stored:.1f} GB on the disk")
    shown = ", ".join(f"{step}: {peak:.2f}" for step, peak in peaks.items())
    print(f"peak memory in GB by step, of {_BATCH} records each: {shown}")


def _build(folder: pathlib.Path, count: int) -> tuple[float, float]:
    start = time.monotonic()
    build(folder / "data", count)
    return time.monotonic() - start, pace.peak_memory()


def build(data: pathlib.Path, count: int, sides: Sides = (_SIDE,) * 3) -> None:
    """Writes `count` records of noise into the new folder `data`."""
    data.mkdir()
    plan = records.Plan(_Config(name="noise", count=count, sides=sides), "noise")
    prepare.prepare(NoiseBuilder, plan, data, workers=0, use_beam=False, beam_options="")
    table, _ = prepare.lesions(data, NoiseBuilder, plan)
    storage.write_table(data / "lesions.csv", table)


def _train(folder: pathlib.Path, count: int) -> tuple[float, float]:
    start = time.monotonic()
    config = senet.get_config("demo").unlock()
    config.data.size_mm = config.preprocess.crop_mm = (_SIDE,) * 3
    config.model.update(width=2, stages=1, stem_stride=4, dropout=0.0)
    config.augment.resampled = 0.0
    steps = count // _BATCH
    config.train.update(
        batch_size=_BATCH, epochs=1, checkpoint_every_epochs=1, log_every_steps=max(steps // 8, 1)
    )
    split = pd.DataFrame({"position": range(count), "label": np.arange(count) % 2})
    split = split.assign(split="train", fold=0, patient_id=(split.position // 5).astype(str))
    split["lesion_id"] = split.position.astype(str)
    data = Data(split, Records(folder / "data", cache=config.data.cache), [], [])
    (folder / "run").mkdir()
    jax.block_until_ready(folds.fit(config, folder / "run", data, split).params)
    return time.monotonic() - start, pace.peak_memory()

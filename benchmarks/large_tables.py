"""The stage `tables` of `large_cohorts`."""

import concurrent.futures
import contextlib
import functools
import io
import multiprocessing
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from configs import senet
from dtc_jax.cohort import manifest, splits
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.experiment import report
from dtc_jax.statistics import predictions_table, study
from dtc_jax.training import pace

MEMORY = "peak memory, GB"
_PER_PATIENT = 5
_PREDICTED = [
    *("patient_id", "lesion_id", "label", "score", "run", "cohort", "split", "fold"),
    *("diameter_mm", "age", "sex", "center"),
]


def run(folder: pathlib.Path, sizes: list[int]) -> None:
    """Prints seconds of CPU time by size, and the exponent of their growth, by size."""
    found: dict[int, dict[str, float]] = {}
    for size in sizes:
        found[size] = measured(folder / str(size), size)
        shown = ", ".join(f"{name} {value:.2f}" for name, value in found[size].items())
        print(f"{size} lesions: {shown}", flush=True)
    print(f"| CPU seconds | {' | '.join(f'{n} lesions' for n in sizes)} | growth |")
    print("|---" * (len(sizes) + 2) + "|")
    for name in found[sizes[0]]:
        values = [found[size][name] for size in sizes]
        power = np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2])
        cells = " | ".join(f"{value:.2f}" for value in values)
        print(f"| {name} | {cells} | n^{power:.2f} |", flush=True)


def measured(folder: pathlib.Path, lesions: int) -> dict[str, float]:
    """CPU seconds of each stage, and `MEMORY`, of so many lesions in a process of their own.

    Args:
      folder: a new one.
      lesions: five a patient.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_measure, folder, lesions).result()


def _measure(folder: pathlib.Path, lesions: int) -> dict[str, float]:
    table = _table(lesions)
    path = _written(folder, table)
    seconds: dict[str, float] = {}
    timed = functools.partial(_timed, seconds)
    read = timed("manifest", lambda: manifest.read_manifest(path))
    rule = make_rule(senet.get_config().split)
    split = timed("split", lambda: splits.assign(read, rule))
    five = senet.get_config().split.unlock()
    five.folds = 5
    timed("split into five folds", lambda: splits.assign(read, make_rule(five)))
    rows = read.merge(split, on="lesion_id", suffixes=("_given", "")).assign(
        score=table.score, run="network"
    )
    rows[_PREDICTED].to_csv(folder / "predictions.csv", index=False)
    predictions = timed(
        "predictions.csv", lambda: predictions_table.read(folder / "predictions.csv")
    )
    timed("statistics", lambda: study.study(predictions))
    timed("report, its statistics included", lambda: report.write([predictions], folder / "report"))
    return seconds | {MEMORY: pace.peak_memory() / 1e9}


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = work()
    seconds[name] = time.process_time() - start
    return result


def _table(lesions: int) -> pd.DataFrame:
    """Lesions whose score depends on their label and their patient."""
    rng = np.random.default_rng(0)
    patient = np.arange(lesions) // _PER_PATIENT
    count = patient.max() + 1
    label = (rng.random(count) < 0.5)[patient]
    logit = 1.5 * label - 0.75 + rng.normal(size=count)[patient] + rng.normal(size=lesions)
    return pd.DataFrame(
        {
            "patient_id": [f"P{p:06d}" for p in patient],
            "lesion_id": [f"P{p:06d}-{i % _PER_PATIENT}" for i, p in enumerate(patient)],
            "image": [f"scans/{p}.nii.gz" for p in patient],
            "mask": [f"masks/{p}.nii.gz" for p in patient],
            "mask_label": np.arange(lesions) % _PER_PATIENT + 1,
            "label": label.astype(int),
            "diameter_mm": rng.uniform(4, 30, lesions).round(1),
            "age": rng.integers(20, 85, count)[patient],
            "sex": rng.choice(["F", "M"], count)[patient],
            "center": rng.choice(["A", "B", "C"], count)[patient],
            "score": 1 / (1 + np.exp(-logit)),
        }
    )


def _written(folder: pathlib.Path, table: pd.DataFrame) -> pathlib.Path:
    """The manifest, and the files that it names, which are empty."""
    for kind in ("scans", "masks"):
        (folder / kind).mkdir(parents=True)
    for name in {*table.image, *table["mask"]}:
        (folder / name).touch()
    path = folder / "lesions.csv"
    table.drop(columns="score").to_csv(path, index=False)
    return path

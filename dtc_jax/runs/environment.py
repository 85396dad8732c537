"""What a run needs of the machine, and what it can expect of it."""

import contextlib
import importlib.metadata
import itertools
import math
import os
import pathlib
import platform
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.cohort import selection
from dtc_jax.runs import fold
from dtc_jax.tasks import registry

# Whole training steps of SE-Net reach 25 to 60 GFLOP/s on two CPU cores (see benchmarks/); those of
# the segmenter, with few channels on fine grids, less.
_CPU_FLOPS = {"classification": 4e10, "segmentation": 1.5e10}


_LIBRARIES = (
    *("dtc-jax", "jax", "jaxlib", "flax", "numpy", "scipy", "nibabel", "pydicom", "highdicom"),
    "SimpleITK",
)


def prepare() -> None:
    """Turns JAX's persistent compilation cache on, unless its own variables already did."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "dtc-jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def versions() -> dict[str, str]:
    """Of Python and of the libraries that have a part in the numbers, as far as installed."""
    found = {"python": platform.python_version(), "backend": jax.default_backend()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def announce(
    config: ml_collections.ConfigDict, rows: pd.DataFrame, flow: list[selection.Step]
) -> None:
    """Prints who is in the study, what will be trained and, on a CPU, the time to expect."""
    for line in _flowcharts(flow):
        print(line)
    own = rows[rows.cohort == config.split.cohort]
    counts = own[own.fold == own.fold.min()].split.value_counts()
    sizes = ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "validation", "test"))
    folds = f"{config.split.folds} folds, the first: " if config.split.folds > 0 else ""
    print(f"{config.split.cohort}: {folds}{sizes}; split by {config.split.unit}", flush=True)
    if jax.default_backend() == "cpu":
        minutes = _flops(config, rows) / _CPU_FLOPS[config.task] / 60
        expected = "under a minute" if minutes < 1 else f"about {minutes:.0f} min"
        advice = "" if minutes < 30 else "; for a first look take the config's variant :demo"
        print(f"on this CPU: {expected}{advice}", flush=True)


def _flowcharts(flow: list[selection.Step]) -> Iterator[str]:
    """For each cohort its lesions in the study and, a line each, those left out."""
    for cohort, steps in itertools.groupby(flow, key=lambda step: step.cohort):
        first, *between, last = steps
        yield (
            f"{cohort}: {last.lesions} lesions of {last.patients} patients in the study, of "
            f"{first.lesions} of {first.patients} in the manifest"
        )
        for step in between:
            if step.kind == "excluded" and step.lesions:
                yield f"  excluded {step.lesions}: {step.reason}"


def _flops(config: ml_collections.ConfigDict, rows: pd.DataFrame) -> float:
    """Floating-point operations of a run, as if every candidate were trained to its end."""
    counts = rows.groupby("fold").split.value_counts().unstack(fill_value=0)  # [folds, splits]
    train, predict = config.train, config.predict
    steps = (counts["train"] // train.batch_size).sum() * train.epochs
    evaluations = math.ceil(train.epochs / train.evaluate_every_epochs)
    views = 4 if predict.mirror else 1
    viewed = evaluations * counts["validation"].sum() * views
    total = 0.0
    for variant in fold.variants(config).values():
        trained, viewed_whole = _forward_flops(variant)
        total += 3.0 * steps * train.batch_size * trained + viewed * viewed_whole
    return total + viewed_whole * len(rows) * views


def _forward_flops(config: ml_collections.ConfigDict) -> tuple[float, float]:
    """Floating-point operations of the network on a crop in training and in prediction.

    Those of a training step are thrice the first.
    """
    task = registry.of(config)
    network = task.make_network(config)
    found = []
    for spec in (task.make_preprocess(config), task.make_predict_preprocess(config)):
        x = jax.ShapeDtypeStruct((1, *spec.shape, spec.channels), np.float32)
        variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
        forward = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, x)
        cost = forward.cost_analysis()
        found.append(float(cost["flops"]) if cost else 0.0)
    return found[0], found[1]

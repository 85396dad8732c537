"""What a run needs of the machine, and what it can expect of it."""

import os
import pathlib

import jax
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.tasks import classification

# Whole training steps of SE-Net reach 25 to 60 GFLOP/s on two CPU cores (see benchmarks/).
_CPU_FLOPS = 4e10


def prepare() -> None:
    """Turns JAX's persistent compilation cache on, unless its own variable already placed it."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "dtc-jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def announce(config: ml_collections.ConfigDict, rows: pd.DataFrame) -> None:
    """Prints what will be trained on how many lesions and, on a CPU, the time to expect."""
    counts = rows.groupby("fold", sort=True).split.value_counts().unstack().iloc[0]
    sizes = ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "validation", "test"))
    folds = f"{config.split.folds} folds, the first: " if config.split.folds > 0 else ""
    print(f"lesions: {folds}{sizes}; split by {config.split.unit}", flush=True)
    if jax.default_backend() == "cpu":
        steps = (rows.split == "train").sum() // config.train.batch_size * config.train.epochs
        minutes = steps * _step_flops(config) / _CPU_FLOPS / 60
        advice = "" if minutes < 30 else "; for a first look, take the small variant ':demo'"
        print(f"on this CPU: {steps} steps, about {minutes:.0f} min{advice}", flush=True)


def _step_flops(config: ml_collections.ConfigDict) -> float:
    """Floating-point operations of one training step: three times those of a forward pass."""
    network = classification.make_network(config)
    spec = classification.make_preprocess(config)
    x = jax.ShapeDtypeStruct((config.train.batch_size, *spec.shape, spec.channels), np.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
    forward = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, x)
    return 3.0 * float(forward.cost_analysis()["flops"])

"""What a run needs of the machine, and what it can expect of it."""

import itertools
import math
import os
import pathlib
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import versions as versions_lib
from dtc_jax.cohort import selection
from dtc_jax.cohort.split_rule import Rule
from dtc_jax.errors import UsageError
from dtc_jax.experiment import folds
from dtc_jax.tasks import registry


def prepare() -> None:
    """Turns JAX's persistent compilation cache on, unless its own variable already placed it.

    Raises:
      UsageError: JAX runs as one of several processes; each would train a network of its own into
        the same folder.
    """
    if jax.process_count() > 1:
        raise UsageError(
            f"this is one of {jax.process_count()} JAX processes; training on several hosts is not "
            "supported yet. Start launch.py once, on one host; it uses all of its devices."
        )
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "dtc-jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def versions() -> dict[str, str]:
    """Of Python, of the libraries that determine the numbers, and the name of JAX's backend."""
    return versions_lib.installed() | {"backend": jax.default_backend()}


def announce(
    config: ml_collections.ConfigDict,
    rule: Rule,
    rows: pd.DataFrame,
    flow: list[selection.Step],
) -> None:
    """Prints who is in the study, what will be trained and, on a CPU, the time to expect."""
    for line in _flowcharts(flow):
        print(line)
    in_cohort = rule.of_cohort(rows)
    counts = in_cohort[in_cohort.fold == in_cohort.fold.min()].split.value_counts()
    sizes = ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "validation", "test"))
    several = f"{rule.folds} folds, the first: " if rule.is_cross_validation else ""
    print(f"{rule.cohort}: {several}{sizes}; split by {rule.unit}", flush=True)
    if jax.default_backend() == "cpu":
        minutes = _flops(config, rows) / registry.of(config).cpu_flops / 60
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
    for variant in folds.variants(config).values():
        trained, viewed_whole = _forward_flops(variant)
        total += 3.0 * steps * train.batch_size * trained + viewed * viewed_whole
    return total + viewed_whole * len(rows) * views


def _forward_flops(config: ml_collections.ConfigDict) -> tuple[float, float]:
    """Floating-point operations of the network on a crop in training and in prediction.

    Those of a training step are thrice the first.
    """
    task = registry.of(config)
    network = task.make_network(config)
    flops = []
    for spec in (task.make_preprocess(config), task.make_predict_preprocess(config)):
        x = jax.ShapeDtypeStruct((1, *spec.shape, spec.channels), np.float32)
        variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
        forward = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, x)
        cost = forward.cost_analysis()
        flops.append(float(cost["flops"]) if cost else 0.0)
    return flops[0], flops[1]

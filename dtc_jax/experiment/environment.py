"""What a run needs of the machine, and what it says before it begins."""

import itertools
import os
import pathlib
from collections.abc import Iterator

import jax
import ml_collections
import pandas as pd

from dtc_jax import versions as versions_lib
from dtc_jax.cohort import selection
from dtc_jax.cohort.split_rule import Rule
from dtc_jax.statistics.predictions_table import SPLITS
from dtc_jax.tasks import unlabelled
from dtc_jax.tasks.sources import Data


def prepare() -> None:
    """Turns JAX's persistent compilation cache on, unless its own variable already placed it."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "dtc-jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def versions() -> dict[str, str]:
    """Of Python, of the libraries that determine the numbers, and the name of JAX's backend."""
    return versions_lib.installed() | {"backend": jax.default_backend()}


def announce(
    config: ml_collections.ConfigDict,
    rule: Rule,
    rows: pd.DataFrame,
    data: Data,
) -> None:
    """Prints who is in the study and how many lesions or patches each split has."""
    for line in _flowcharts(data.flow):
        print(line)
    in_cohort = rule.of_cohort(rows)
    counts = in_cohort[in_cohort.fold == in_cohort.fold.min()].split.value_counts()
    sizes = ", ".join(f"{name} {counts.get(name, 0)}" for name in SPLITS)
    several = f"{rule.folds} folds, the first: " if rule.is_cross_validation else ""
    print(f"{rule.cohort}: {several}{sizes}; split by {rule.unit}", flush=True)
    if unlabelled.are_learned(config):
        counts = unlabelled.counts(unlabelled.of_run(config, data, rows), rows.fold.unique())
        print(f"{rule.cohort}: {unlabelled.sentence(counts)}", flush=True)


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

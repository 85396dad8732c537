"""What a run needs of the machine, and what it says before it begins."""

import contextlib
import importlib.metadata
import itertools
import os
import pathlib
import platform
from collections.abc import Iterator

import jax
import ml_collections
import pandas as pd

from dtc_jax.cohort import selection

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
    """Prints who is in the study and how many lesions or patches each split has."""
    for line in _flowcharts(flow):
        print(line)
    own = rows[rows.cohort == config.split.cohort]
    counts = own[own.fold == own.fold.min()].split.value_counts()
    sizes = ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "validation", "test"))
    folds = f"{config.split.folds} folds, the first: " if config.split.folds > 0 else ""
    print(f"{config.split.cohort}: {folds}{sizes}; split by {config.split.unit}", flush=True)


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

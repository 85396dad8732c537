"""The fields that the classifier's and the segmenter's configuration share, as plain data.

Each function returns a new dict of all fields of one section; keyword arguments add fields or
replace values. Fields that only one of the networks has stand in its own file. What each field
means is listed in docs/configuration.md.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

Variant = Callable[[ml_collections.ConfigDict], None]


def start(task: str) -> ml_collections.ConfigDict:
    """A new configuration with the fields that belong to no section."""
    config = ml_collections.ConfigDict()
    config.task = task
    config.seed = 0
    config.init_from = ""  # folder of another run: its weights are taken where their shapes fit
    config.parallel = "jit"  # or 'pmap': the same step, mapped over devices by hand
    return config


def real_data(path: str) -> str:
    """`path` in the folder that the environment variable DTC_JAX_DATA names."""
    return f"{os.environ.get('DTC_JAX_DATA', '$DTC_JAX_DATA')}/{path}"


def data(**fields: Any) -> dict[str, Any]:
    """Where the data come from."""
    return {
        "source": "phantom",  # or 'manifest' (scans and a CSV); each task has one more
        "folder": "data",  # generated and built data
        "manifest": "",
        "about": "",  # what the lesions and classes are, where they are not those of the study
        "workers": 2,  # reading threads
        "cache": True,  # keep the decoded records in memory, 2 GiB at the most
        "on_device": "auto",  # keep a small training set on the devices; or 'always', 'never'
        "phantom": {"patients": 120, "external_patients": 16, "seed": 0},
    } | fields


def split() -> dict[str, Any]:
    """Who trains, who validates and who is tested."""
    return {
        "cohort": "primary",  # patients of every other cohort are test only
        "kind": "holdout",  # 'temporal', 'center', 'column', 'file', 'two_part'; k-fold: folds > 0
        "unit": "patient",  # 'lesion' leaks, and is for measuring that bias
        "folds": 0,
        "seed": 0,
        "test_fraction": 0.3,
        "validation_fraction": 0.15,
        "center": "",  # the centre left out, where kind is 'center'
        "file": "",  # a CSV of patient_id and split, where kind is 'file'
        "first_patients": 0,  # by scan_order, who take part; 0 for all
    }


def augment(**fields: Any) -> dict[str, Any]:
    """Strengths of the augmentation; 0 is off."""
    return {
        "flip": (0.5, 0.5, 0.5),
        "resampled": 1.0,  # share of the examples; the others keep their voxels
        "interpolation": "linear",  # of those resampled; or 'sharp', which blurs less
        "hu_scale": 0.05,
        "visible_extent": (0.0, 0.0, 0.0),
        "noise_grain_mm": 0.0,  # of the noise; 0 is white
        "softer_mm": 0.0,  # reconstruction kernels
        "sharper": 0.0,
        "elastic_mm": 0.0,
        "cutout": 0.0,
        "cutout_mm": 16.0,
    } | fields


def augmentation_off() -> dict[str, Any]:
    """The fields of a sweep's variant without augmentation, by their full names."""
    triples = ("flip", "rotate_deg", "visible_extent")
    scalars = (
        *("shift_mm", "scale", "elastic_mm", "hu_shift", "hu_scale", "noise_hu"),
        *("noise_grain_mm", "softer_mm", "sharper", "cutout"),
    )
    off = {f"augment.{name}": (0.0, 0.0, 0.0) for name in triples}
    return off | {f"augment.{name}": 0.0 for name in scalars}


def optimizer(**fields: Any) -> dict[str, Any]:
    """The optimizer and its schedule."""
    return {
        "name": "adamw",  # or 'adam', 'sgd'
        "schedule": "cosine",  # or 'linear', 'constant'
        "clip_norm": 1.0,  # of the global gradient; 0 is off
        "momentum": 0.9,  # of 'sgd'
    } | fields


def train(**fields: Any) -> dict[str, Any]:
    """The training loop."""
    return {
        "evaluate_every_epochs": 1,
        "patience": 0,  # evaluations without improvement before stopping; 0 is off
        "keep": "best",  # the epoch with the best train.monitor; or 'last'
        "ema_decay": 0.98,  # of the moving average of the parameters; 0 is off
        "profile_steps": 0,  # to trace into WORKDIR/profile, after the first; 0 is off
        "accumulate": 1,  # parts of a batch, one after another: less memory, nearly the same step
        "ensemble": 1,  # networks that differ in their seed and decide together
        "snapshots": 1,  # networks of one training that decide together: the epochs are divided
        "tracker": "",  # or 'mlflow', 'wandb': gets the rows of metrics.jsonl as well
    } | fields


def choose(
    path: str,
    base: Callable[[], ml_collections.ConfigDict],
    variants: Mapping[str, Variant],
    arg: str,
) -> ml_collections.ConfigDict:
    """The configuration `base` changed by the variant `arg`, locked: a typo is refused.

    Args:
      path: of the config, for the message.
      base: makes the configuration that the variants start from.
      variants: name -> changes a configuration in place.
      arg: name of the variant.

    Raises:
      ValueError: there is no such variant.
    """
    if arg not in variants:
        names = ", ".join(repr(name) for name in variants if name)
        raise ValueError(f"{path} has no variant {arg!r}; choose one of {names}.")
    config = base()
    variants[arg](config)
    return config.lock()

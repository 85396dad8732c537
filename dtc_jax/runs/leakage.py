"""`--mode=leakage`: how much a split by lesions gains, and whether the network knows patients.

The same network is trained twice in cross-validation, on folds of patients and on folds of lesions,
so that both runs test the same lesions and their AUCs, or of a segmenter the Dice of their patches,
are compared in pairs. Then a classifier's networks of the folds of patients are asked whether
lesions of one patient, all unseen, look alike to them.
"""

import pathlib
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import UsageError
from dtc_jax.experiment import folds, network, report
from dtc_jax.runs import train
from dtc_jax.statistics import leakage as leakage_lib
from dtc_jax.statistics import predictions_table
from dtc_jax.statistics.formatting import estimate, p_value
from dtc_jax.tasks import registry, unlabelled
from dtc_jax.tasks.lesion_figures import PREDICTIONS
from dtc_jax.tasks.patch_figures import CASES

_FOLDS = 3  # where the configuration has a hold-out split: both runs must test the same lesions
_UNITS = ("lesion", "patient")


def run(config: ml_collections.ConfigDict, workdir: storage.PathLike) -> dict[str, Any]:
    """Trains on both kinds of split in `workdir`/lesion and /patient and writes leakage.json.

    The same call goes on with a stopped audit.

    Returns:
      The figures of leakage.json.

    Raises:
      InputError: see `train`.
      UsageError: the configuration is neither a classifier's nor a segmenter's, or it learns from
        lesions without a label.
      Stopped: a signal came; the state is saved.
    """
    table = registry.of(config).table
    if table not in (PREDICTIONS, CASES):
        raise UsageError(
            f"--mode=leakage is for a classifier or a segmenter; config.task is {config.task!r}."
        )
    if unlabelled.are_learned(config):
        raise UsageError(
            "--mode=leakage compares two trainings of equal size, and with config.loss.unlabelled "
            "one of them would learn from more lesions than the other; set it to False."
        )
    folder = pathlib.Path(workdir)
    configs = {unit: split_by(config, unit) for unit in _UNITS}
    for unit, of_unit in configs.items():
        print(f"--- {make_rule(of_unit.split).folds} folds of {unit}s", flush=True)
        train.run(of_unit, folder / unit)
    paths = [folder / unit / table for unit in _UNITS]
    figures: dict[str, Any]
    if table == PREDICTIONS:
        figures = {
            "gap": leakage_lib.gap(*map(predictions_table.read, paths)),
            "identity": _identity(configs["patient"], folder / "patient"),
        }
    else:
        cases = (csv_reader.read_table(path, ("patient_id", "lesion_id")) for path in paths)
        figures = {"gap": leakage_lib.dice_gap(*cases)}
    storage.write_json(folder / "leakage.json", figures)
    if table == PREDICTIONS:
        report.write(paths, folder / "report")
    print(_summary(figures))
    return figures


def split_by(config: ml_collections.ConfigDict, unit: str) -> ml_collections.ConfigDict:
    """`config` in cross-validation on folds of `unit`s."""
    of_unit = config.copy_and_resolve_references()
    folds = make_rule(config.split).folds or _FOLDS
    of_unit.split.update(unit=unit, folds=folds, kind="holdout")
    return of_unit


def _identity(config: ml_collections.ConfigDict, folder: pathlib.Path) -> dict[str, object]:
    """`statistics.leakage.probe` of the test lesions of every fold, by that fold's network."""
    task = registry.of(config)
    data = task.load(config)
    rows = task.split(config, data.table)
    trained = network.load(folder)
    splits = [split for _, split in rows.groupby("fold")]
    parts = [
        folds.features(member, data, split)
        for member, split in zip(trained.members, splits, strict=True)
    ]
    lesions = pd.concat([split[split.split == "test"] for split in splits])
    arrays = (lesions.patient_id, lesions.label, lesions.fold)
    return leakage_lib.probe(_padded(parts), *(column.to_numpy() for column in arrays))


def _padded(parts: list[np.ndarray]) -> np.ndarray:
    """The parts below each other; candidates of other width get columns of zeros. # [N, C]"""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def _summary(figures: dict[str, dict]) -> str:
    gap, probe = figures["gap"], figures.get("identity")
    name, what = ("AUC", "lesions") if "auc_gap" in gap else ("Dice", "patches")
    difference = gap[f"{name.lower()}_gap"]
    lines = [
        f"split by lesion: {gap['siblings']:.0%} of the tested {what} "
        f"have a sibling in training; {name} gained by it {estimate(difference, sign='+')}, "
        f"n = {difference['n']} {what} of {difference['patients']} patients"
    ]
    if probe and probe["found"] is not None:
        chance = probe["chance"]
        lines.append(
            f"split by patient: the nearest of the unseen lesions is of the same patient for "
            f"{probe['found']:.0%} of {probe['lesions']} lesions; by chance {chance['value']:.0%} "
            f"({chance['low']:.0%}–{chance['high']:.0%}), P {p_value(probe['p'])}"
        )
    return "\n".join(lines)

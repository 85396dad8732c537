"""`--mode=leakage`: by how much a split by lesions flatters, and whether patients are recognised.

The same network is trained twice in cross-validation, on folds of patients and on folds of lesions,
so that both runs test the same lesions and their AUCs are compared in pairs. Then the networks of
the folds of patients are asked whether lesions of one patient, all unseen, look alike to them.
"""

import pathlib

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.runs import data as data_lib
from dtc_jax.runs import fold
from dtc_jax.runs.report import report
from dtc_jax.runs.train import train
from dtc_jax.runs.workdir import PREDICTIONS
from dtc_jax.statistics import leakage as leakage_lib
from dtc_jax.statistics import predictions_table

_FOLDS = 3  # where the configuration has a hold-out split: both runs must test the same lesions
_UNITS = ("lesion", "patient")


def leakage(config: ml_collections.ConfigDict, workdir: storage.PathLike) -> None:
    """Trains on both kinds of split in `workdir`/lesion and /patient and writes leakage.json.

    The same call goes on with a stopped audit.

    Raises:
      InputError: see `train`.
      Stopped: a signal came; the state is saved.
    """
    folder = pathlib.Path(workdir)
    configs = {unit: split_by(config, unit) for unit in _UNITS}
    tested = {}
    for unit, own in configs.items():
        print(f"--- {own.split.folds} folds of {unit}s", flush=True)
        train(own, folder / unit)
        tested[unit] = predictions_table.read(folder / unit / PREDICTIONS)
    found = {
        "gap": leakage_lib.gap(tested["lesion"], tested["patient"]),
        "identity": _identity(configs["patient"], folder / "patient"),
    }
    storage.write_json(folder / "leakage.json", found)
    report([folder / unit / PREDICTIONS for unit in _UNITS], folder / "report")
    print(_summary(found))


def split_by(config: ml_collections.ConfigDict, unit: str) -> ml_collections.ConfigDict:
    """`config` in cross-validation on folds of `unit`s."""
    own = config.copy_and_resolve_references()
    own.split.unit = unit
    own.split.folds = config.split.folds or _FOLDS
    return own


def _identity(config: ml_collections.ConfigDict, folder: pathlib.Path) -> dict[str, object]:
    """`statistics.leakage.probe` of the test lesions of every fold, by that fold's network."""
    data = data_lib.load(config)
    rows = data_lib.assign(config, data.table)
    parts, seen = [], []
    for split, home in fold.folders(config, rows, folder):
        network = fold.choose(config, home, fold.read)
        parts.append(fold.features(network, data, split))
        seen.append(split[split.split == "test"])
    lesions = pd.concat(seen)
    arrays = (lesions.patient_id, lesions.label, lesions.fold)
    return leakage_lib.probe(_padded(parts), *(column.to_numpy() for column in arrays))


def _padded(parts: list[np.ndarray]) -> np.ndarray:
    """The parts below each other; candidates of other width get columns of zeros. # [N, C]"""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def _summary(found: dict[str, dict]) -> str:
    gap, probe = found["gap"], found["identity"]
    difference, chance = gap["auc_gap"], probe["chance"]
    lines = [
        f"split by lesion: {gap['siblings']:.0%} of the tested lesions "
        f"have a sibling in training; AUC gained by it {_interval(difference)}, "
        f"n = {difference['n']} lesions of {difference['patients']} patients"
    ]
    if probe["found"] is not None:
        lines.append(
            f"split by patient: the nearest of the unseen lesions is of the same patient for "
            f"{probe['found']:.0%} of {probe['lesions']} lesions; by chance {chance['value']:.0%} "
            f"[{chance['low']:.0%}, {chance['high']:.0%}], P {probe['p']:.2g}"
        )
    return "\n".join(lines)


def _interval(estimate: dict) -> str:
    if estimate["value"] is None or estimate["low"] is None:
        return "n/a"
    return f"{estimate['value']:+.3f} [{estimate['low']:+.3f}, {estimate['high']:+.3f}]"

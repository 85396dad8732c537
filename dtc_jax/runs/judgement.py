"""What a run says of itself: predictions, baselines, metrics, report, a few printed lines."""

import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.cohort import splits
from dtc_jax.imaging import features
from dtc_jax.runs.data import Data
from dtc_jax.runs.figures import Figures, summary
from dtc_jax.runs.fold import Network
from dtc_jax.runs.report import report
from dtc_jax.runs.workdir import PREDICTIONS
from dtc_jax.statistics import baselines, tables, threshold
from dtc_jax.statistics.formatting import estimate

COLUMNS = (
    *("run", "cohort", "split", "fold", "patient_id", "lesion_id", "center", "diameter_mm"),
    *("age", "sex", "label", "score", "threshold", "threshold_source", "decision"),
)

_DETAILS = (
    *("scanner", "kvp", "slice_mm", "diameter_given_mm", "volume_mm3", "mean_hu"),
    "label_reason",
)


def write(
    config: ml_collections.ConfigDict,
    data: Data,
    networks: Sequence[Network],
    scored: pd.DataFrame,
    folder: pathlib.Path,
) -> None:
    """Chooses the thresholds on validation and writes and prints the figures beside the baselines.

    Args:
      config: see configs/senet.py.
      data: the cohort and its crops.
      networks: of the splits.
      scored: rows of `fold.predict`, all folds.
      folder: of the run.
    """
    judged = threshold.apply(scored.assign(run=folder.resolve().name), config.threshold)
    table = judged.reindex(columns=COLUMNS).astype({"label": int, "decision": int})
    compared = baselines.predict(table, _baseline_inputs(data, scored), config.threshold)
    figures = {
        "network": tables.metrics(table),
        "baselines": {name: tables.metrics(rows) for name, rows in compared.groupby("run")},
        "split": {
            "kind": "kfold" if config.split.folds > 0 else config.split.kind,
            "unit": config.split.unit,
            "fingerprint": splits.fingerprint(scored[["lesion_id", "fold", "split"]]),
        },
        "candidates": [network.candidates for network in networks if network.candidates],
        "notes": _notes(config, data),
        "flow": [vars(step) for step in data.flow],
    }
    storage.write_table(folder / PREDICTIONS, table)
    storage.write_table(folder / "baselines.csv", compared)
    storage.write_json(folder / "metrics.json", figures)
    storage.write_table(folder / "lesions.csv", _lesions(data))
    print(summary(figures, "SE-Net", _head, _line))
    if config.get("write_report", True):
        report([folder / PREDICTIONS], folder / "report")


def _lesions(data: Data) -> pd.DataFrame:
    """What predictions.csv has not: how the lesions were scanned, measured and labelled."""
    known = [column for column in _DETAILS if column in data.table]
    return data.table[["patient_id", "lesion_id", *known]]


def _baseline_inputs(data: Data, scored: pd.DataFrame) -> dict[str, np.ndarray]:
    """What the baselines see; the features are computed once a lesion, from its stored crop."""
    rows = scored.drop_duplicates("position").position
    known = {}
    for position in progress.track(rows, "features for the baselines"):
        record = data.records[position]
        known[position] = features.features(record["image"], record["mask"], record["extent"])
    columns = scored.columns
    return baselines.inputs(
        diameter_mm=scored.diameter_mm.to_numpy(),
        box_mm=scored[[f"box_mm_{axis}" for axis in "zyx"]].to_numpy(),
        scan_box_mm=scored[[f"scan_box_mm_{axis}" for axis in "zyx"]].to_numpy(),
        features=np.stack([known[position] for position in scored.position]),
        age=scored.age.to_numpy() if "age" in columns else None,
        sex=scored.sex.to_numpy() if "sex" in columns else None,
    )


def _notes(config: ml_collections.ConfigDict, data: Data) -> list[str]:
    notes = list(data.notes)
    if config.split.unit == "lesion":
        notes.append(
            "split by LESION: lesions of one patient are on both sides, so every figure flatters"
        )
    return notes


def _head(test: Figures) -> str:
    return (
        f"{test['lesions']} lesions of {test['patients']} patients ({test['positives']} positive), "
        "95 % intervals"
    )


def _line(row: Figures) -> str:
    names = {"auc": "AUC", "accuracy": "accuracy", "sensitivity": "sens", "specificity": "spec"}
    return "  ".join(f"{short} {estimate(row[name])}" for name, short in names.items())

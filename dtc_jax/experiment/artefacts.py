"""What a run left beside its predictions.csv, read for the report."""

import hashlib
import pathlib

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.report.report_run import Artefacts
from dtc_jax.training import logs

_IDS = ("patient_id", "lesion_id")


def read(predictions: pathlib.Path) -> Artefacts:
    """What is in the folder of `predictions`, as far as it exists.

    Raises:
      InputError: a file is there but damaged.
    """
    folder = predictions.parent
    files = {
        name: storage.read_json(folder / f"{name}.json")
        for name in ("config", "metrics", "data", "init")
        if (folder / f"{name}.json").is_file()
    }
    tables = {
        name: csv_reader.read_table(folder / f"{name}.csv", _IDS)
        for name in ("baselines", "lesions", "occluded")
        if (folder / f"{name}.csv").is_file()
    }
    return Artefacts(
        **files,
        **tables,
        curves=curves(folder),
        fingerprint=hashlib.sha256(predictions.read_bytes()).hexdigest(),
    )


def curves(folder: pathlib.Path) -> pd.DataFrame | None:
    """Every training's logged metrics, one a row; None without any."""
    parts = []
    for path in sorted(folder.rglob("metrics.jsonl")):
        wide = pd.DataFrame(logs.read(path.parent))
        if wide.empty:
            continue
        named = [column for column in wide if "/" in column]
        long = wide.melt("epoch", named).dropna(subset="value")
        long[["split", "metric"]] = long.variable.str.split("/", n=1, expand=True)
        training = path.parent.relative_to(folder).as_posix()
        parts.append(long.assign(training=training).drop(columns="variable"))
    return pd.concat(parts, ignore_index=True) if parts else None

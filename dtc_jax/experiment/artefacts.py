"""What a run left beside its predictions.csv, read for the report."""

import hashlib
import pathlib

import pandas as pd

from dtc_jax import storage
from dtc_jax.report.subject import Artefacts
from dtc_jax.training import logs


def read(predictions: pathlib.Path) -> Artefacts:
    """What is in the folder of `predictions`, as far as it exists.

    Raises:
      InputError: a file is there but damaged.
    """
    folder = predictions.parent
    files = {
        name: storage.read_json(folder / f"{name}.json")
        for name in ("config", "metrics", "data")
        if (folder / f"{name}.json").is_file()
    }
    baselines = folder / "baselines.csv"
    return Artefacts(
        **files,
        baselines=pd.read_csv(baselines) if baselines.is_file() else None,
        lesions=_lesions(folder / "lesions.csv"),
        curves=curves(folder),
        fingerprint=hashlib.sha256(predictions.read_bytes()).hexdigest(),
    )


def _lesions(path: pathlib.Path) -> pd.DataFrame | None:
    """What else is known of the lesions, by patient_id and lesion_id."""
    if not path.is_file():
        return None
    return pd.read_csv(path, dtype={"patient_id": str, "lesion_id": str})


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

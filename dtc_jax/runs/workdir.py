"""A run's folder: it belongs to one configuration, kept in `config.json`."""

import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import splits
from dtc_jax.errors import InputError

# Of whole scans: no part of training, nor of its figures.
_OF_SCANS = ("predict.overlap", "predict.connectivity", "predict.min_volume_mm3")
# Fields that say how, not what, to compute: they may change when a run is resumed.
FREE_FIELDS = (
    *(
        "data.cache",
        "data.folder",
        "data.workers",
        "split.file",
        "parallel",
        "train.log_every_steps",
    ),
    "write_report",
    *_OF_SCANS,
    *("report.patient_truth", "report.diameter_rounding", "report.margin"),
)


def claim(workdir: storage.PathLike, config: ml_collections.ConfigDict) -> pathlib.Path:
    """Makes `workdir` the folder of `config`, or checks that it already is.

    Raises:
      InputError: the folder holds the run of another configuration (the fields are named), or
        files of something else.
    """
    folder = pathlib.Path(workdir)
    path = folder / "config.json"
    new = _plain(config)
    if path.exists():
        old = _stored(path)
        different = [
            f"{field}: {old_value!r} there, {new_value!r} now"
            for field, old_value, new_value in _differences(old, new)
            if field not in FREE_FIELDS
        ]
        if different:
            raise InputError(
                f"{folder}: holds the run of another configuration ({'; '.join(different)}). "
                "Name a new --workdir, or delete this one to start again."
            )
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file. Name a new --workdir.")
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds files but no config.json. Name a new --workdir.")
    storage.write_json(path, new)
    return folder


def claim_data(
    folder: pathlib.Path, config: ml_collections.ConfigDict, rows: pd.DataFrame, crops: str
) -> None:
    """Binds a run to its data: on other labels or splits its test would no longer be one.

    Args:
      folder: of the run.
      config: of the run.
      rows: lesion_id, fold, split and label of the run's lesions.
      crops: fingerprint of the stored crops.

    Raises:
      InputError: the run was started on other data; says what differs.
    """
    labels = rows.drop_duplicates("lesion_id").sort_values("lesion_id")
    new = {
        "lesions": len(labels),
        "split": splits.fingerprint(rows),
        "labels": hashlib.sha256(
            "\n".join(f"{row.lesion_id} {row.label:.0f}" for row in labels.itertuples()).encode()
        ).hexdigest(),
        "crops": crops,
    }
    path = folder / "data.json"
    if path.exists():
        old = storage.read_json(path)
        different = [field for field, value in new.items() if value != old.get(field)]
        if different:
            raise InputError(
                f"{folder}: holds a run on other data (different: {', '.join(different)}); the "
                f"{config.data.source} data have changed since. Name a new --workdir, or delete "
                "this one to start again."
            )
        return
    storage.write_json(path, new)


def read_config(workdir: storage.PathLike) -> ml_collections.ConfigDict:
    """The configuration that `workdir` belongs to.

    Raises:
      InputError: the folder is not that of a run.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.exists():
        raise InputError(f"{workdir}: not the folder of a run (it has no config.json).")
    return ml_collections.ConfigDict(_stored(path), convert_dict=True).lock()


def essence(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields, by their full names, that decide what is computed from a scan."""
    how = set(FREE_FIELDS) - set(_OF_SCANS)
    where = ("data.manifest", "data.npz")
    fields = dict(_flat(_plain(config)))
    return {name: value for name, value in fields.items() if name not in how.union(where)}


def _stored(path: pathlib.Path) -> dict[str, Any]:
    """A stored configuration; one without a task is of the time when there was but one."""
    return {"task": "classification"} | storage.read_json(path)


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_dict()))  # tuples become lists, as in the file


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _differences(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    olds, news = dict(_flat(old)), dict(_flat(new))
    for field in sorted(olds.keys() | news.keys()):
        if olds.get(field) != news.get(field):
            yield field, olds.get(field), news.get(field)

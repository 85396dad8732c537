"""A run's folder: it belongs to one configuration, kept in `config.json`."""

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections.abc import Collection, Iterator
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import splits
from dtc_jax.errors import InputError, UsageError

_CONFIG = "config.json"
DATA = "data.json"  # what a run was started on; see `claim_data`
PREDICTIONS = "predictions.csv"  # of a classifier: all lesions, with their split and score
CASES = "cases.csv"  # of a segmenter: all patches, with their split and Dice
# Of whole scans: no part of training, nor of its figures.
OF_SCANS = ("predict.overlap", "predict.connectivity", "predict.min_volume_mm3")
# Fields that say how, not what, to compute: they may change when a run is resumed.
FREE_FIELDS = (
    *(
        "data.cache",
        "data.folder",
        "data.workers",
        "split.file",
        "parallel",
        "train.log_every_steps",
        "train.profile_steps",
        "train.tracker",
    ),
    "write_report",
    *OF_SCANS,
    *("report.patient_truth", "report.diameter_rounding", "report.margin"),
)


def claim(
    workdir: storage.PathLike,
    config: ml_collections.ConfigDict,
    free: Collection[str] = FREE_FIELDS,
) -> pathlib.Path:
    """Makes `workdir` the folder of `config`, or checks that it already is.

    Raises:
      InputError: see `check`.
    """
    folder = check(workdir, config, free)
    storage.remove_dead(folder)
    storage.write_json(folder / _CONFIG, _plain(config))
    return folder


@contextlib.contextmanager
def starting(
    workdir: storage.PathLike, config: ml_collections.ConfigDict
) -> Iterator[pathlib.Path]:
    """`claim`, which is taken back where the block refuses what a new run was given.

    Who mends the path of the manifest, say, is then not told that the folder is of another run.
    """
    is_new = not (pathlib.Path(workdir) / _CONFIG).exists()
    folder = claim(workdir, config)
    try:
        yield folder
    except (InputError, UsageError):
        if is_new and [path.name for path in folder.iterdir()] == [_CONFIG]:
            shutil.rmtree(folder)
        raise


def check(
    workdir: storage.PathLike,
    config: ml_collections.ConfigDict,
    free: Collection[str] = FREE_FIELDS,
) -> pathlib.Path:
    """Checks that `workdir` is the folder of `config`, or free for it; writes nothing.

    Args:
      workdir: of the run.
      config: of the run.
      free: full names of the fields in which it may differ from that of before.

    Raises:
      InputError: the folder holds the run of another configuration (the fields are named), or
        files of something else.
    """
    folder = pathlib.Path(workdir)
    path = folder / _CONFIG
    if path.exists():
        different = [
            f"{field}: {old_value!r} there, {new_value!r} now"
            for field, old_value, new_value in _differences(_stored(path), _plain(config))
            if field not in free
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
    return folder


def claim_data(
    folder: pathlib.Path, config: ml_collections.ConfigDict, rows: pd.DataFrame, crops: str
) -> None:
    """Binds a run to its data: on other labels or splits its test would no longer be one.

    Raises:
      InputError: see `check_data`.
    """
    new = check_data(folder, config, rows, crops)
    if not (folder / DATA).exists():
        storage.write_json(folder / DATA, new)


def check_data(
    folder: pathlib.Path, config: ml_collections.ConfigDict, rows: pd.DataFrame, crops: str
) -> dict[str, Any]:
    """What binds a run to its data, held against what the run was started on; writes nothing.

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
    if (folder / DATA).exists():
        old = storage.read_json(folder / DATA)
        different = [field for field, value in new.items() if value != old.get(field)]
        if different:
            raise InputError(
                f"{folder}: holds a run on other data (different: {', '.join(different)}); the "
                f"{config.data.source} data have changed since. Name a new --workdir, or delete "
                "this one to start again."
            )
    return new


def read_config(workdir: storage.PathLike) -> ml_collections.ConfigDict:
    """The configuration that `workdir` belongs to.

    Raises:
      InputError: the folder is not that of a run.
    """
    path = pathlib.Path(workdir) / _CONFIG
    if not path.exists():
        raise InputError(f"{workdir}: not the folder of a run (it has no config.json).")
    return ml_collections.ConfigDict(_stored(path), convert_dict=True).lock()


def essence(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields, by their full names, that decide what is computed from a scan."""
    how = set(FREE_FIELDS) - set(OF_SCANS)
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

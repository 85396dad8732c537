"""A run's folder: it belongs to one configuration, kept in `config.json`."""

import contextlib
import errno
import fcntl
import hashlib
import pathlib
import shutil
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import splits
from dtc_jax.crops import processes
from dtc_jax.errors import InputError, UsageError
from dtc_jax.tasks import fields, inputs, ratings

_CONFIG = "config.json"
_LOCK = ".lock"
DATA = "data.json"  # what a run was started on; see `claim_data`
_COLUMN = "column "  # in data.json, before the name of one; runs of before have none
# Fields that later versions added, and what runs without them did.
_ADDED: dict[str, Any] = fields.LATER | {
    "init_from": "",
    "augment.interpolation": "linear",
    "augment.set_in": 0.0,
    "model.se": True,  # of SE-Net; a V-Net has always said where
    "model.residual": True,
    "model.remat": False,
    "model.measures": 0,
    "data.about": "",
    "data.border_share": 0.0,
    "data.on_device": "never",
    "data.other_per_scan": 0,
    "combine": "best",
    "loss.graded": "",
    "loss.graded_range": [0.0, 1.0],
    "loss.graded_share": 0.5,
    "loss.lesion_weight": "",
    "split.first_patients": 0,
    "train.ensemble": 1,
    "train.accumulate": 1,
    "train.hard_negatives.rounds": 0,
    "train.hard_negatives.after_epochs": 20,
    "train.hard_negatives.per_scan": 40,
    "train.hard_negatives.share": 0.5,
}


def claim(
    workdir: storage.PathLike,
    config: ml_collections.ConfigDict,
    free: Collection[str] | None = None,
) -> pathlib.Path:
    """Makes `workdir` the folder of `config`, or checks that it already is.

    Raises:
      InputError: see `check`.
    """
    folder = check(workdir, config, free)
    storage.remove_dead(folder)
    storage.write_json(folder / _CONFIG, fields.plain(config))
    return folder


@contextlib.contextmanager
def claimed(
    workdir: storage.PathLike,
    config: ml_collections.ConfigDict,
    free: Collection[str] | None = None,
) -> Iterator[pathlib.Path]:
    """`claim`, for this process alone as long as the block lasts.

    It is undone where the block refuses a new run before its first step. Someone who then corrects
    the path of the manifest or the batch size, say, is not told that the folder belongs to another
    run.

    Raises:
      InputError: see `check` and `locked`.
    """
    folder = check(workdir, config, free)
    with locked(folder):
        is_new = not (folder / _CONFIG).exists()
        claim(folder, config, free)
        try:
            yield folder
        except (InputError, UsageError):
            holds_data = pathlib.Path(config.data.folder).resolve().is_relative_to(folder.resolve())
            if is_new and not holds_data and not _is_trained(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _is_trained(folder: pathlib.Path) -> bool:
    """Whether a training in a run's folder has logged a step or saved its state."""
    logs = any(path.stat().st_size for path in folder.rglob("metrics.jsonl"))
    return logs or any(path.name.isdigit() for path in folder.rglob("checkpoints/*"))


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out of `folder`.

    It is a POSIX lock: the system gives it back when the process ends, however it ends, and NFSv4
    has it too. On a disk without locks nobody is kept out.

    Raises:
      InputError: another process has it.
      SystemExit: this is a worker process that runs the script of its parent once more.
    """
    processes.refuse_unguarded_script()
    with storage.no_space_is_an_input_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("a")
    with file as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise InputError(
                    f"{folder}: another process is using it. Wait until it has ended, or choose "
                    "another folder."
                ) from error
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield


def is_in_use(folder: pathlib.Path) -> bool:
    """Whether another process has `folder`, see `locked`; writes nothing.

    Not for the process that has it: a POSIX lock is given back with the first file that is closed.
    """
    if not (folder / _LOCK).exists():
        return False
    try:
        with locked(folder):
            return False
    except InputError:
        return True


def check(
    workdir: storage.PathLike,
    config: ml_collections.ConfigDict,
    free: Collection[str] | None = None,
) -> pathlib.Path:
    """Checks that `workdir` is the folder of `config`, or free for it; writes nothing.

    Args:
      workdir: of the run.
      config: of the run.
      free: full names of fields in which it may differ; None for `fields.free`.

    Raises:
      InputError: the folder contains a run with another configuration (the fields are named),
        or files of something else.
    """
    folder = pathlib.Path(workdir)
    path = folder / _CONFIG
    if path.exists():
        allowed = fields.free(inputs.variants(config).values()) if free is None else free
        different = [
            f"{field}: {old_value!r} before, {new_value!r} now"
            for field, old_value, new_value in differences(_stored(path), fields.plain(config))
            if field not in allowed
        ]
        if different:
            raise InputError(
                f"{folder}: contains a run with another configuration ({'; '.join(different)}). "
                "Choose another --workdir, or delete this one to start again."
            )
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file. Choose another --workdir.")
    elif not is_free(folder):
        raise InputError(f"{folder}: contains files but no config.json. Choose another --workdir.")
    return folder


def is_free(folder: pathlib.Path) -> bool:
    """Whether `folder` does not exist, or has no file but that of `locked`."""
    return not folder.exists() or (
        folder.is_dir() and all(path.name == _LOCK for path in folder.iterdir())
    )


def claim_data(
    folder: pathlib.Path,
    config: ml_collections.ConfigDict,
    rows: pd.DataFrame,
    crops: str,
    unlabelled: pd.DataFrame | None = None,
) -> None:
    """Binds a run to its data: on other labels or splits its test would no longer be one.

    Raises:
      InputError: see `check_data`.
    """
    new = check_data(folder, config, rows, crops, unlabelled)
    if not (folder / DATA).exists():
        storage.write_json(folder / DATA, new)


def check_data(
    folder: pathlib.Path,
    config: ml_collections.ConfigDict,
    rows: pd.DataFrame,
    crops: str,
    unlabelled: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """What binds a run to its data, compared with what the run was started on; writes nothing.

    Args:
      folder: of the run.
      config: of the run.
      rows: lesion_id, fold, split and label of the run's lesions, and the columns that config.loss
        names.
      crops: fingerprint of the stored crops.
      unlabelled: of `tasks.unlabelled.allowed`.

    Raises:
      InputError: the run was started on other data; names what differs.
    """
    lesions = rows.drop_duplicates("lesion_id").sort_values("lesion_id")
    new = {
        "lesions": len(lesions),
        "split": splits.fingerprint(rows),
        "labels": _hash(f"{row.lesion_id} {row.label:.0f}" for row in lesions.itertuples()),
        "crops": crops,
    } | _columns(config, lesions)
    if unlabelled is not None and not unlabelled.empty:
        others = unlabelled.sort_values(["lesion_id", "fold"])
        new["unlabelled"] = _hash(f"{row.lesion_id} {row.fold}" for row in others.itertuples())
        of_others = _columns(config, others.drop_duplicates("lesion_id"))
        new |= {f"unlabelled {name}": value for name, value in of_others.items()}
    if (folder / DATA).exists():
        old = storage.read_json(folder / DATA)
        different = [
            field
            for field, value in new.items()
            if value != old.get(field) and (field in old or not field.startswith(_COLUMN))
        ]
        if different:
            raise InputError(
                f"{folder}: contains a run on other data (different: {', '.join(different)}); the "
                f"{config.data.source} data have changed since. Choose another --workdir, or "
                "delete this one to start again."
            )
    return new


def _columns(config: ml_collections.ConfigDict, lesions: pd.DataFrame) -> dict[str, str]:
    """A hash of each column that the training learns from or weighs by, in any candidate.

    A column that is missing is as one without values; `ratings` refuses it.
    """
    variants = inputs.variants(config).values()
    names = sorted({name for variant in variants for name in ratings.columns(variant)})
    hashes = {}
    for name in names:
        values = lesions[name] if name in lesions else [None] * len(lesions)
        numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").astype(float)
        pairs = zip(lesions.lesion_id, numbers, strict=True)
        hashes[_COLUMN + name] = _hash(f"{lesion} {number!r}" for lesion, number in pairs)
    return hashes


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_config(workdir: storage.PathLike) -> ml_collections.ConfigDict:
    """The configuration that `workdir` belongs to.

    Raises:
      InputError: the folder is not that of a run.
    """
    path = pathlib.Path(workdir) / _CONFIG
    if not path.exists():
        raise InputError(f"{workdir}: not the folder of a run (it has no config.json).")
    return ml_collections.ConfigDict(_stored(path), convert_dict=True).lock()


def _stored(path: pathlib.Path) -> dict[str, Any]:
    """A stored configuration; one without a task dates from when there was only one."""
    return {"task": "classification"} | storage.read_json(path)


def differences(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two plain configurations differ: full name, the old and the new value."""
    olds, news = dict(fields.flat(old)), dict(fields.flat(new))
    for field in sorted(olds.keys() | news.keys()):
        added = [value for name, value in _ADDED.items() if f".{field}".endswith(f".{name}")]
        before = olds.get(field, added[0] if added else None)
        if before != news.get(field):
            yield field, before, news.get(field)

"""Weights to start from: those of another run, where the shapes fit (`config.init_from`).

In place of a run there may be a safetensors file, of a bundle or with the names of PyTorch.

The other run may be of other data: a phantom cohort, or public nodules. What it has seen, and what
the runs before it have seen, must not be evaluated here; `init.json` remembers it.
"""

import pathlib
from typing import Any

import jax
import ml_collections
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import persons
from dtc_jax.errors import InputError
from dtc_jax.experiment import learned, network
from dtc_jax.statistics import predictions_table
from dtc_jax.tasks import inputs, registry, unlabelled
from dtc_jax.tasks.trained import Member, TrainedNetwork
from dtc_jax.training.result import Initial
from dtc_jax.training.task import PyTree

RECORD = "init.json"
_NAMED = 3  # arrays in a message


def check_source(config: ml_collections.ConfigDict, folder: pathlib.Path) -> None:
    """Refuses a `config.init_from` that no run can start from, before any data are touched.

    Args:
      config: of the run.
      folder: of the run; one that was started already goes on if the other run is gone.

    Raises:
      InputError: it is no trained run, has several networks, no list of its patients, or no array
        that fits; or, where no epoch follows, an array here that it does not give.
    """
    source = config.get("init_from", "")
    if source and not _is_gone(source, folder):
        trained = _load(source, config)
        _seen(trained, pathlib.Path(source))
        for variant in inputs.variants(config).values():
            fit = _fit(variant, trained.members[0])
            if not fit["taken"]:
                raise InputError(
                    f"config.init_from: no array of {source} has the name and shape of one of this "
                    "network; give a run with a similar config.model, or leave the field empty."
                )
            if fit["random"] and variant.train.epochs == 0:
                raise InputError(
                    f"config.init_from: {source} does not have all weights of this network, and "
                    "with config.train.epochs=0 none is trained "
                    f"({', '.join(_random(fit['random'], trained.members[0]))}); give a network of "
                    "the same config.model, or train."
                )


def refuse_seen(config: ml_collections.ConfigDict, rows: pd.DataFrame) -> None:
    """Refuses a `config.init_from` that has seen a patient who is in validation or test here.

    Args:
      config: of the run.
      rows: patient_id and split of its examples.

    Raises:
      InputError: there are such patients; names one.
    """
    source = config.get("init_from", "")
    if source:
        _refuse_both(config, rows, _seen(_load(source, config), pathlib.Path(source)))


def prepare(
    config: ml_collections.ConfigDict, rows: pd.DataFrame, folder: pathlib.Path
) -> Initial | None:
    """What changes a new network's weights into those of `config.init_from`; None without it.

    Writes `init.json` into `folder`: which arrays were taken and which start at random, the
    fingerprint of the weights, and the patients whom they have seen. A run that has its first
    checkpoint goes on without the other run.

    Args:
      config: of the run.
      rows: patient_id and split of its examples.
      folder: of the run.

    Raises:
      InputError: see `refuse_seen`; or the other run has changed since this one was started. What
        `check_source` refuses is not looked at again.
    """
    source = config.get("init_from", "")
    if not source:
        return None
    if _is_gone(source, folder):
        return _refuse_start(source)
    trained = _load(source, config)
    seen = _seen(trained, pathlib.Path(source))
    _refuse_both(config, rows, seen)
    (member,) = trained.members
    fits = {name: _fit(variant, member) for name, variant in inputs.variants(config).items()}
    name = predictions_table.run_name(pathlib.Path(source).resolve())
    record = {"run": name, **trained.fingerprints, "arrays": fits, "seen": seen}
    _check_record(folder / RECORD, record, source)
    storage.write_json(folder / RECORD, record)
    for fit in fits.values():
        print(_sentence(fit, member, name), flush=True)
    if _is_file(source):
        print(
            f"{name} does not record which patients it was trained on. Make sure that none of them "
            "is in validation or test here."
        )
    return lambda params, batch_stats: overlay((params, batch_stats), member)


def seen_besides(folder: pathlib.Path, config: ml_collections.ConfigDict) -> set[str]:
    """The patients whom the run in `folder` has seen, besides those of its table of examples.

    It learned from lesions of theirs without a label, or the runs before it have seen them, as
    `init.json` says.

    Args:
      folder: of a run.
      config: of the same.

    Raises:
      InputError: nothing records whose lesions without a label it has learned from.
    """
    learned = _learned_unlabelled(folder, config)
    if not (folder / RECORD).is_file():
        return learned
    seen = storage.read_json(folder / RECORD)["seen"]
    return learned.union(*(seen.get(name, ()) for name in ("patients", _population(config))))


def _learned_unlabelled(folder: pathlib.Path, config: ml_collections.ConfigDict) -> set[str]:
    if not unlabelled.are_learned(config):
        return set()
    path = folder / unlabelled.FILE
    if not path.is_file():
        raise InputError(
            f"{path} is missing, and nothing else records whose lesions without a label the run "
            f"has learned from; run --mode=evaluate --workdir={folder} first."
        )
    return persons.ids(csv_reader.read(path, "the lesions without a label"))


def _is_gone(source: str, folder: pathlib.Path) -> bool:
    return (folder / RECORD).is_file() and not pathlib.Path(source).exists()


def _refuse_start(source: str) -> Initial:
    """What a run that has a checkpoint never calls."""

    def refuse(params: PyTree, batch_stats: PyTree) -> tuple[PyTree, PyTree]:
        raise InputError(
            f"config.init_from: {source} no longer exists; restore it to start from it."
        )

    return refuse


def _is_file(source: storage.PathLike) -> bool:
    return str(source).endswith(".safetensors")


def _load(source: str, config: ml_collections.ConfigDict) -> TrainedNetwork:
    if _is_file(source):
        return TrainedNetwork(registry.of(config), (_from_file(source, config),))
    try:
        trained = network.load(source)
    except InputError as error:
        raise InputError(f"config.init_from: {error}") from error
    count = len(trained.networks)
    if count != 1:
        raise InputError(
            f"config.init_from: {source} has {count} networks; give a run of a single network, "
            "without folds or an ensemble."
        )
    return trained


def _from_file(source: str, config: ml_collections.ConfigDict) -> Member:
    """The network of a safetensors file, whose names are those of `config`."""
    try:
        from dtc_jax.export import weights
    except ImportError as error:
        raise InputError(
            f"config.init_from: {source} needs safetensors; run pip install 'dtc-jax[serve]'."
        ) from error
    try:
        return Member(config, *weights.read(source, config), {})
    except InputError as error:
        raise InputError(f"config.init_from: {error}") from error


def overlay(new: tuple[PyTree, PyTree], member: Member) -> tuple[PyTree, PyTree]:
    """`new` (params, batch_stats) with the arrays of `member` of the same place and shape."""
    given = dict(_arrays((member.params, member.batch_stats)))

    def pick(place: Any, leaf: Any) -> Any:
        other = given.get(jax.tree_util.keystr(place))
        return leaf if other is None or other.shape != leaf.shape else other.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(pick, new)


def _arrays(tree: PyTree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(place), leaf) for place, leaf in leaves]


def _fit(config: ml_collections.ConfigDict, member: Member) -> dict[str, Any]:
    """How many arrays of a network are taken, and which are not."""
    wanted = network.shapes(learned.shapes(config))
    given = network.shapes((member.params, member.batch_stats))
    random = [name for name, shape in wanted.items() if given.get(name) != shape]
    return {"taken": len(wanted) - len(random), "random": random}


def _sentence(fit: dict[str, Any], member: Member, run: str) -> str:
    parts = [f"start from {run}: {fit['taken']} arrays taken", *_random(fit["random"], member)]
    return ", ".join(parts)


def _random(names: list[str], member: Member) -> list[str]:
    """What starts at random, and why: arrays that `member` has in another shape, or not at all."""
    given = network.shapes((member.params, member.batch_stats))
    absent = [name for name in names if name not in given]
    differ = [name for name in names if name in given]
    return [
        f"{len(some)} start at random, since {why}: {_few(some)}"
        for some, why in ((differ, "their shapes differ"), (absent, "they are absent"))
        if some
    ]


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _population(config: ml_collections.ConfigDict) -> str:
    """Where equal ids mean equal patients: in phantom cohorts of one seed, whatever their size."""
    if config.data.source == "phantom":
        return f"phantom {config.data.phantom.seed}"
    return "medmnist3d" if config.data.source == "medmnist3d" else "patients"


def _seen(trained: TrainedNetwork, source: pathlib.Path) -> dict[str, list[str]]:
    """The patients whom a run and those before it were trained or chosen on, by population.

    A file of weights says of none.
    """
    if _is_file(source):
        return {}
    path = source / trained.task.table
    if not path.is_file():
        raise InputError(
            f"config.init_from: {path} is missing, and nothing else records which patients it has "
            f"seen; run --mode=evaluate --workdir={source} first."
        )
    table = csv_reader.read_table(path, ("patient_id", "lesion_id"))
    patients = persons.ids(table[table.split != "test"])
    patients |= _learned_unlabelled(source, trained.config)
    seen = {_population(trained.config): patients}
    if (source / RECORD).is_file():
        for population, before in storage.read_json(source / RECORD)["seen"].items():
            seen[population] = seen.get(population, set()) | set(before)
    return {population: sorted(ids) for population, ids in seen.items()}


def _refuse_both(
    config: ml_collections.ConfigDict, rows: pd.DataFrame, seen: dict[str, list[str]]
) -> None:
    held_out = persons.ids(rows[rows.split != "train"])
    both = persons.in_common(held_out, seen.get(_population(config), ()))
    if both:
        raise InputError(
            f"config.init_from: {config.init_from} was trained or chosen on {len(both)} patients "
            f"who are in validation or test here, such as {min(both)} (equal ids count as one "
            "patient); start from a run on other patients."
        )


def _check_record(path: pathlib.Path, record: dict[str, Any], source: str) -> None:
    if path.is_file() and storage.read_json(path)["weights"] != record["weights"]:
        raise InputError(
            f"config.init_from: {source} has changed since the run in {path.parent} was started "
            "from it; choose another --workdir, or delete this one to start again."
        )

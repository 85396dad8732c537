"""The trained network of a run, from its folder alone: it may be moved to another machine."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dtc_jax import csv_reader, storage
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, one_line
from dtc_jax.experiment import calibrated, folds, learned
from dtc_jax.experiment import workdir as workdir_lib
from dtc_jax.tasks import lesion_figures, registry
from dtc_jax.tasks.definition import Config
from dtc_jax.tasks.trained import Member, TrainedNetwork
from dtc_jax.training import result
from dtc_jax.training.result import FitResult
from dtc_jax.training.task import PyTree

NETWORKS = "networks"  # in metrics.json: fingerprints, by fold
_LEAST = 1e-6  # and the largest is one less this: where the logit of a threshold is cut off


def load(workdir: storage.PathLike, task: str = "") -> TrainedNetwork:
    """The network of a run as it was trained, a member a fold, each the best candidate of its fold.

    Args:
      workdir: of the run; its data are not needed.
      task: that it must have been trained for, such as 'segmentation'; '' for any.

    Raises:
      InputError: `workdir` is not the folder of a run, its run is of another task, it is not
        trained yet, or its checkpoints do not fit its configuration.
    """
    config = workdir_lib.read_config(workdir)
    unfinished = list[str]()

    def get(config: Config, folder: pathlib.Path, before: Member | None) -> FitResult:
        del before  # what is trained does not need it
        trained = read(config, folder)
        if trained.unfinished:
            name = "" if folder == pathlib.Path(workdir) else f"{folder.relative_to(workdir)}: "
            unfinished.append(f"{name}{trained.unfinished}")
        return trained

    if task and config.task != task:
        raise InputError(_of_another_task(workdir, config.task, task))
    try:
        try:
            registry.of(config).make_predict_preprocess(config)
        except InputError as error:  # of a version whose preprocessing was another one
            raise InputError(f"{workdir}: {error}") from error
        homes = make_rule(config.split).homes(pathlib.Path(workdir))
        members = tuple(folds.choose(config, home, get) for home in homes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = one_line(error, 200)
        raise InputError(
            f"{workdir}: its config.json does not fit this version of dtc-jax ({text}); use the "
            "version that trained it, or train again."
        ) from error
    return TrainedNetwork(registry.of(config), members, unfinished=tuple(unfinished))


def load_with_threshold(workdir: storage.PathLike, task: str) -> TrainedNetwork:
    """`load`, with the temperatures and the threshold that the run chose on validation.

    The folds of a k-fold run have one each. Their networks decide together by the mean of their
    logits, so the threshold is the mean of theirs on that scale, in which a fold counts for as many
    networks as it has. It was not chosen for the mean of the networks: no lesion of the run could
    be used for that, as some network was trained on each.

    Raises:
      InputError: see `load`; or the run was not evaluated yet, or was trained further since.
    """
    trained = load(workdir, task)
    members = calibrated.read(workdir, trained.members)
    threshold = together(thresholds(workdir), members)
    trained = dataclasses.replace(trained, members=members, threshold=threshold)
    check_figures(trained, workdir)
    return trained


def check_figures(trained: TrainedNetwork, workdir: storage.PathLike) -> None:
    """Refuses a run whose figures are those of other weights than it has now.

    Raises:
      InputError: it was trained further since it was evaluated.
    """
    path = pathlib.Path(workdir) / calibrated.METRICS
    figures = storage.read_json(path) if path.is_file() else {}
    if not of_same_weights(figures, {NETWORKS: trained.fingerprints_by_fold()}):
        raise InputError(
            f"{workdir}: was trained further since it was evaluated, so its figures, threshold and "
            "temperature are those of other weights; finish its training, or run "
            f"--mode=evaluate --workdir={workdir}."
        )


def of_same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two metrics.json are of the same weights, or one of an earlier version."""
    weights = [[fold["weights"] for fold in each.get(NETWORKS, ())] for each in (one, other)]
    return not all(weights) or weights[0] == weights[1]


def read(config: Config, folder: pathlib.Path) -> FitResult:
    """What `folds.fit` made in `folder` with the same `config`.

    Raises:
      InputError: nothing in `folder` was evaluated yet, or it is of another network.
    """
    trained = result.read_best(folder)
    wanted = shapes(learned.shapes(config))
    stored = shapes((trained.params, trained.batch_stats))
    for name in sorted(wanted.keys() | stored.keys()):
        if wanted.get(name) != stored.get(name):
            raise InputError(
                f"{folder}: its checkpoint does not match its config.json: {name} has shape "
                f"{stored.get(name, 'none')}, the config asks for {wanted.get(name, 'none')}. Copy "
                "the whole folder of the run as it was trained."
            )
    return trained


def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """The shape of each array by its place in the network."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(name): tuple(leaf.shape) for name, leaf in leaves}


def _of_another_task(workdir: storage.PathLike, stored: str, wanted: str) -> str:
    words = registry.get(wanted).words
    try:
        noun, flag = (registry.get(stored).words.noun, registry.get(stored).words.flag)
    except InputError:
        noun, flag = f"something else ({stored})", "another flag"
    return (
        f"{workdir}: contains the run of {noun}, and {words.noun} is needed; give it as {flag}, "
        f"and as {words.flag} the folder of {words.noun}."
    )


def thresholds(workdir: storage.PathLike) -> np.ndarray:
    """The threshold that each fold of a run chose on validation. # [folds]

    Raises:
      InputError: the run was not evaluated yet.
    """
    path = pathlib.Path(workdir) / lesion_figures.PREDICTIONS
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, so the run has no threshold yet; finish its training, or run "
            f"--mode=evaluate --workdir={workdir}."
        )
    chosen = csv_reader.read_table(path, ("patient_id", "lesion_id"))
    if not {"fold", "threshold"} <= {*chosen}:
        raise InputError(f"{path}: cannot be read; run --mode=evaluate again.")
    chosen = chosen[["fold", "threshold"]].dropna()
    values = chosen.groupby("fold").threshold.first().to_numpy(float)
    if not len(values):
        raise InputError(f"{path}: has no threshold; run --mode=evaluate again.")
    return values


def together(thresholds: np.ndarray, members: Sequence[Member]) -> float:
    """The threshold of all networks of a run together, see `load_with_threshold`.

    Args:
      thresholds: of each fold. # [folds]
      members: a network, or several that decide together, of each.
    """
    if len(thresholds) == 1:
        return float(thresholds[0])
    inside = list(np.clip(thresholds, _LEAST, 1 - _LEAST))
    return float(folds.mean_of_logits(inside, [len(member.networks) for member in members]))

"""One split of the cohort: train on it, choose among candidates on its validation, predict it."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.errors import InputError, UsageError
from dtc_jax.runs import workdir as workdir_lib
from dtc_jax.runs.data import Data
from dtc_jax.tasks import classification, registry
from dtc_jax.training import batches, loop, optimizer, predictions, result, tracker
from dtc_jax.training.result import FitResult
from dtc_jax.training.task import Batch, PyTree, Task


def folders(
    config: ml_collections.ConfigDict, rows: pd.DataFrame, workdir: pathlib.Path
) -> Iterator[tuple[pd.DataFrame, pathlib.Path]]:
    """The rows and the folder of each split of a run: `workdir` itself, or folds/00, folds/01, …"""
    for fold, split in rows.groupby("fold"):
        yield split, home(workdir, fold) if config.split.folds > 0 else workdir


def home(workdir: pathlib.Path, fold: int) -> pathlib.Path:
    """The folder of a fold of a k-fold run."""
    return workdir / "folds" / f"{fold:02d}"


def variants(config: ml_collections.ConfigDict) -> dict[str, ml_collections.ConfigDict]:
    """The configuration of each candidate by name; {'': config} where there are none.

    Raises:
      UsageError: a candidate has a field that the configuration has not, or of another type.
    """
    found = {}
    for name, fields in sorted(config.candidates.items()):
        found[name] = config.copy_and_resolve_references()
        try:
            found[name].update(fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # ml_collections lists all fields before its suggestion.
            text = re.sub(r'Other fields present: ".*"(\n|$)', "", str(error.args[0]), flags=re.S)
            raise UsageError(
                f"config.candidates.{name} does not fit the config: {' '.join(text.split())}"
            ) from error
    return found or {"": config}


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network and how it came to be the one.

    Attributes:
      config: it was trained with: the run's, with the fields of the chosen candidate.
      result: its parameters.
      candidates: monitored validation metric of every candidate; empty where there were none.
    """

    config: ml_collections.ConfigDict
    result: FitResult
    candidates: dict[str, float]


def choose(
    config: ml_collections.ConfigDict, folder: pathlib.Path, get: Callable[..., FitResult]
) -> Network:
    """The network of a split: the only one, or the best of `config.candidates` on validation.

    The choice sees the training and validation rows of this split alone, so in cross-validation
    the tested fold has no part in it.

    Args:
      config: its `candidates` map a name to the fields in which that candidate differs.
      folder: of the split; candidates lie in candidates/NAME below it.
      get: called with a `config` and its `folder`: `fit`, of the split's data, to train what is not
        trained yet, or `read` to read what is.
    """
    if not config.candidates:
        return Network(config, get(config=config, folder=folder), {})
    trained = {
        name: (variant, get(config=variant, folder=folder / "candidates" / name))
        for name, variant in variants(config).items()
    }
    values = {name: got.best_metrics[config.train.monitor] for name, (_, got) in trained.items()}
    best = (min if config.train.monitor == "loss" else max)(values, key=values.__getitem__)
    return Network(*trained[best], values)


def fit(
    config: ml_collections.ConfigDict, data: Data, split: pd.DataFrame, folder: pathlib.Path
) -> FitResult:
    """Trains on the training rows of `split`, watched by its validation rows; resumes in `folder`.

    Args:
      config: see configs/.
      data: the cohort and its crops.
      split: one row a lesion (or patch), with split, label and position.
      folder: gets checkpoints/, metrics.jsonl and TensorBoard's event files.

    Raises:
      UsageError: the training rows do not fill one batch.
    """
    rows = split[split.split == "train"]
    steps_per_epoch = len(rows) // config.train.batch_size
    if steps_per_epoch == 0:
        raise UsageError(
            f"config.train.batch_size is {config.train.batch_size}, but there are only {len(rows)} "
            "lesions or patches to train on; lower it."
        )
    total_steps = steps_per_epoch * config.train.epochs
    return loop.fit(
        make_task(config, split),
        optimizer.make_optimizer(config.optimizer, total_steps),
        batches.train_batches(
            data.records, _view(rows), config.train.batch_size, config.seed, config.data.workers
        ),
        lambda: _padded_batches(config, data, split[split.split == "validation"]),
        folder,
        seed=config.seed,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        evaluate_every=steps_per_epoch * config.train.evaluate_every_epochs,
        checkpoint_every=steps_per_epoch * config.train.checkpoint_every_epochs,
        log_every=config.train.log_every_steps or steps_per_epoch,
        patience=config.train.patience,
        ema_decay=config.train.ema_decay,
        parallel=config.parallel,
        learning_rate=optimizer.make_schedule(config.optimizer, total_steps),
        profile_steps=config.train.get("profile_steps", 0),
        tracker=tracker.opened(config.train.get("tracker", ""), folder, _shown(config)),
    )


def _shown(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields for an experiment tracker: not those that name files and patients."""
    fields = workdir_lib.essence(config)
    return {k: v for k, v in fields.items() if not k.startswith(("data.", "split."))}


def read(config: ml_collections.ConfigDict, folder: pathlib.Path) -> FitResult:
    """What `fit` made in `folder` of the same `config`.

    Raises:
      InputError: nothing in `folder` was evaluated yet, or it is of another network.
    """
    found = result.read_best(folder)
    task = make_task(config, pd.DataFrame({"split": "train", "label": [0.0, 1.0]}))
    params, batch_stats = jax.eval_shape(task.init, jax.random.key(0))
    wanted, there = _shapes((params, batch_stats)), _shapes((found.params, found.batch_stats))
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            raise InputError(
                f"{folder}: is of another network than its config.json: {name} has shape "
                f"{there.get(name, 'none')}, the config asks for {wanted.get(name, 'none')}. Take "
                "the whole folder of a run as it was trained."
            )
    return found


def predict(network: Network, data: Data, split: pd.DataFrame) -> pd.DataFrame:
    """`split` with what the network says of every row, in the task's columns (such as `score`)."""
    config = network.config
    outputs = predictions.predict(
        make_task(config, split),
        network.result.params,
        network.result.batch_stats,
        _padded_batches(config, data, split),
        config.parallel,
    )
    index = np.concatenate([out["index"] for out in outputs])
    found = registry.of(config).columns(outputs).items()
    return split.assign(**{k: split.position.map(pd.Series(v, index)) for k, v in found})


def features(network: Network, data: Data, split: pd.DataFrame) -> np.ndarray:
    """What the network's last layer sees of the test rows of `split`. # [N, C]"""
    config, rows = network.config, split[split.split == "test"]
    task = dataclasses.replace(
        make_task(config, split), predict=classification.make_features(config)
    )
    outputs = predictions.predict(
        task,
        network.result.params,
        network.result.batch_stats,
        _padded_batches(config, data, rows),
        config.parallel,
    )
    found = np.concatenate([out["features"] for out in outputs])
    place = {index: i for i, index in enumerate(np.concatenate([out["index"] for out in outputs]))}
    return found[[place[position] for position in rows.position]]


def make_task(config: ml_collections.ConfigDict, split: pd.DataFrame) -> Task:
    """The task of the run; it may use the labels of the training rows of `split`, and no others."""
    labels = split.label[split.split == "train"].to_numpy()
    return registry.of(config).make_task(config, labels)


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """The shape of each array by its place in the network."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(name): tuple(leaf.shape) for name, leaf in leaves}


def _view(rows: pd.DataFrame) -> batches.View:
    return batches.View(rows.position.to_numpy(), rows.label.to_numpy(np.float32))


def _padded_batches(
    config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame
) -> Iterator[Batch]:
    return batches.eval_batches(data.records, _view(rows), config.predict.batch_size)

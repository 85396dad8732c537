"""One split of the cohort: train on it, choose among candidates on its validation, predict it."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_collections
import numpy as np
import pandas as pd
from scipy import special

from dtc_jax.cohort.split_rule import Rule
from dtc_jax.errors import UsageError
from dtc_jax.experiment import hard_negatives, learned
from dtc_jax.tasks import fields as fields_lib
from dtc_jax.tasks import inputs, registry, unlabelled
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import Member
from dtc_jax.training import batches, hosts, loop, optimizer, predictions, resident, tracker
from dtc_jax.training.plan import Plan, Watch
from dtc_jax.training.result import FitResult, Initial, OnEvaluation
from dtc_jax.training.task import Batch, PyTree, Task

_LEAST = 1e-12  # probabilities are cut off there before their logit is taken


def folders(
    rule: Rule, rows: pd.DataFrame, workdir: pathlib.Path
) -> Iterator[tuple[pd.DataFrame, pathlib.Path]]:
    """The rows and the folder of each split of a run, see `Rule.home`."""
    for fold, split in rows.groupby("fold"):
        yield split, rule.home(workdir, int(fold))


def choose(
    config: ml_collections.ConfigDict, folder: pathlib.Path, get: Callable[..., FitResult]
) -> Member:
    """The networks of a split: the only one, the best of `config.candidates`, or all of them.

    The choice sees the training and validation rows of this split alone, so in cross-validation
    the tested fold has no part in it.

    Args:
      config: its `candidates` map a name to the fields in which that candidate differs; they are
        chosen from, or decide together, as its `combine` says.
      folder: of the split; candidates are in candidates/NAME below it.
      get: called with a `config`, its `folder` and the network `before` it that it goes on from, or
        None: `fit`, with the split's data, to train what is not trained yet, or what reads what is.
    """
    together = inputs.combines(config)
    trained = {
        name: _trained(variant, folder / "candidates" / name if name else folder, get)
        for name, variant in inputs.variants(config).items()
    }
    if not config.candidates:
        return trained[""]
    monitor = config.train.monitor
    values = {name: member.metrics[monitor] for name, member in trained.items()}
    if together:
        networks = [single for member in trained.values() for single in member.networks]
        return dataclasses.replace(_together(config, networks), candidates=values)
    is_loss = registry.of(config).monitors[monitor] == "min"
    best = (min if is_loss else max)(values, key=values.__getitem__)
    return dataclasses.replace(trained[best], candidates=values)


def _trained(
    config: ml_collections.ConfigDict, folder: pathlib.Path, get: Callable[..., FitResult]
) -> Member:
    """The networks of a candidate: those of several seeds, and the snapshots of each."""
    networks: list[Member] = []
    for home, part in inputs.parts(config).items():
        before = networks[-1] if inputs.goes_on(home) else None
        result = get(config=part, folder=folder / home, before=before)
        networks.append(Member(part, result.params, result.batch_stats, result.best_metrics))
    return networks[0] if len(networks) == 1 else _together(config, networks)


def _together(config: ml_collections.ConfigDict, networks: Sequence[Member]) -> Member:
    """Networks that decide together, in the order of `inputs.parts`."""
    metrics = {
        name: float(np.mean([network.metrics[name] for network in networks]))
        for name in networks[0].metrics
    }
    params, batch_stats = zip(*((n.params, n.batch_stats) for n in networks), strict=True)
    return Member(config, params, batch_stats, metrics)


def check(config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame) -> None:
    """Refuses a training that could not begin with `rows`, without touching their images.

    Args:
      config: see configs/.
      data: the examples.
      rows: of all splits, with fold, split, label and what the manifest says of them.

    Raises:
      UsageError: the training rows of a split do not fill one batch, or a field is wrong.
      InputError: a column that the loss wants is missing or wrong.
    """
    for part in inputs.variants(config).values():
        for _, split in rows.groupby("fold"):
            _trained_on(part, data, split)


def _trained_on(
    config: ml_collections.ConfigDict, data: Data, split: pd.DataFrame
) -> tuple[pd.DataFrame, batches.View]:
    """The rows that are learned from in a split, and what is learned from them."""
    rows = split[split.split == "train"]
    beside = unlabelled.of_split(config, data, split)
    if not beside.empty:
        rows = pd.concat([rows, beside[rows.columns]], ignore_index=True)
    if len(rows) < config.train.batch_size:
        raise UsageError(
            f"config.train.batch_size is {config.train.batch_size}, but there are only {len(rows)} "
            "lesions or patches to train on; lower it."
        )
    task = registry.of(config)
    return rows, _view(rows, task.weights(config, rows), task.targets(config, rows))


def fit(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    data: Data,
    split: pd.DataFrame,
    before: Member | None = None,
    initial: Initial | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> FitResult:
    """Trains on the training rows of `split`, watched by its validation rows; resumes in `folder`.

    Where there are none, or `config.train.keep` says so, the network of the last epoch is the
    result.

    Args:
      config: see configs/.
      folder: gets checkpoints/, metrics.jsonl and TensorBoard's event files.
      data: the examples.
      split: their rows, with split, label and position.
      before: the network to go on from.
      initial: changes the first parameters and running statistics, where there is none before.
      on_evaluation: called at each evaluation; it may stop the training.

    Raises:
      UsageError: the training rows do not fill one batch.
    """
    rows, view = _trained_on(config, data, split)
    steps_per_epoch = len(rows) // config.train.batch_size
    total_steps = steps_per_epoch * config.train.epochs
    validated = split[split.split == "validation"]
    every = steps_per_epoch * config.train.evaluate_every_epochs
    if before is not None:
        initial = functools.partial(_of, before)
    stored = resident.train_batches(
        data.records,
        view,
        config.train.batch_size,
        config.seed,
        config.data.workers,
        hosts.rank(),
        on_device=_on_device(config),
    )

    plan = Plan(
        seed=config.seed,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        evaluate_every=max(total_steps, 1) if validated.empty else every,
        log_every=config.train.log_every_steps or steps_per_epoch,
        checkpoint_every=steps_per_epoch * config.train.checkpoint_every_epochs,
        patience=config.train.patience,
        ema_decay=config.train.ema_decay,
        accumulate=config.train.get("accumulate", 1),
        profile_steps=config.train.get("profile_steps", 0),
    )
    watch = Watch(
        on_evaluation=on_evaluation,
        learning_rate=optimizer.make_schedule(config.optimizer, total_steps),
        name_of=rows.set_index("position").lesion_id.get,
        tracker=functools.partial(
            tracker.opened, config.train.get("tracker", ""), folder, _shared(config)
        ),
    )

    def train(train_batches: Any, stop_at: int | None = None) -> FitResult:
        return loop.fit(
            learned.task(config),
            learned.make_optimizer(config),
            train_batches,
            None if validated.empty else lambda: _padded_batches(config, data, validated),
            folder,
            dataclasses.replace(plan, stop_at=stop_at),
            watch,
            parallel=config.parallel,
            initial=initial,
        )

    if not hard_negatives.rounds(config):
        return train(stored)
    return hard_negatives.fit(config, rows, stored, steps_per_epoch, train, folder)


def _of(member: Member, params: PyTree, batch_stats: PyTree) -> tuple[PyTree, PyTree]:
    """The weights of `member` in place of new ones, see `Initial`."""
    del params, batch_stats
    return member.params, member.batch_stats


def _on_device(config: ml_collections.ConfigDict) -> str:
    """`config.data.on_device`; rows that give way to hard negatives do so on the host."""
    if hard_negatives.rounds(config):
        return resident.NEVER
    return config.data.get("on_device", resident.AUTO)


def _shared(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields for an experiment tracker: not those that name files and patients."""
    essence = fields_lib.essence(config)
    return {k: v for k, v in essence.items() if not k.startswith(("data.", "split."))}


def predict(member: Member, data: Data, split: pd.DataFrame) -> pd.DataFrame:
    """`split` with the network's outputs for every row, in the task's columns (such as `score`)."""
    task = registry.of(member.config)
    outputs = _outputs(member, learned.task(member.config), data, split)
    index = np.concatenate([out["index"] for out in outputs])
    columns = task.columns(outputs).items()
    return split.assign(**{k: split.position.map(pd.Series(v, index)) for k, v in columns})


def predict_together(members: Sequence[Member], data: Data, split: pd.DataFrame) -> np.ndarray:
    """The probability of every row by the mean of all networks' logits, as a run decides. # [N]

    A member is the mean of its networks, so that it counts for as many: the folds of a run may have
    chosen candidates with other values of `train.ensemble`.
    """
    scores = [predict(member, data, split).score.to_numpy() for member in members]
    return mean_of_logits(scores, [len(member.networks) for member in members])


def mean_of_logits(
    probabilities: Sequence[np.ndarray], counts: Sequence[int] | None = None
) -> np.ndarray:
    """The probability by the mean of the logits of several; one is left as it is. # [N]

    Args:
      probabilities: of each, [N].
      counts: how much each counts; None: all the same.
    """
    if len(probabilities) == 1:
        return probabilities[0]
    logits = special.logit(np.clip(probabilities, _LEAST, 1 - _LEAST))  # [networks, N]
    return np.asarray(special.expit(np.average(logits, axis=0, weights=counts)))


def features(member: Member, data: Data, split: pd.DataFrame) -> np.ndarray:
    """What the last layers of the networks see of the test rows of `split`. # [N, C]

    Raises:
      UsageError: the task has no such features.
    """
    definition, rows = registry.of(member.config), split[split.split == "test"]
    if definition.make_features is None:
        raise UsageError(f"config.task is {member.config.task!r}; it has no features of lesions.")
    by_network = []
    for network in member.networks:
        outputs = _outputs(network, learned.features(network.config), data, rows)
        values = np.concatenate([out["features"] for out in outputs])
        index = np.concatenate([out["index"] for out in outputs])
        place = {position: i for i, position in enumerate(index)}
        by_network.append(values[[place[position] for position in rows.position]])
    return np.concatenate(by_network, axis=1)


def _outputs(member: Member, task: Task, data: Data, rows: pd.DataFrame) -> predictions.Predictions:
    return predictions.predict(
        task,
        member.params,
        member.batch_stats,
        _padded_batches(member.config, data, rows),
        member.config.parallel,
    )


def _view(
    rows: pd.DataFrame, weights: np.ndarray, targets: np.ndarray | None = None
) -> batches.View:
    labels = rows.label.to_numpy(np.float32)
    return batches.View(rows.position.to_numpy(), labels, weights.astype(np.float32), targets)


def _padded_batches(
    config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame
) -> Iterator[Batch]:
    view = _view(rows, np.ones(len(rows)))
    return batches.eval_batches(data.records, view, config.predict.batch_size, hosts.rank())

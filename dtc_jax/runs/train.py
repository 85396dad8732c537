"""`--mode=train`: a hold-out run, or patient-wise cross-validation where config.split.folds > 0."""

import functools
import json
import pathlib
import time

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.experiment import calibrated, checks, cost, environment, folds, initial, results
from dtc_jax.experiment import workdir as workdir_lib
from dtc_jax.tasks import fields, registry, unlabelled
from dtc_jax.tasks.definition import Evaluation
from dtc_jax.tasks.trained import TrainedNetwork
from dtc_jax.training import hosts
from dtc_jax.training.result import OnEvaluation


def run(
    config: ml_collections.ConfigDict,
    workdir: storage.PathLike,
    on_evaluation: OnEvaluation | None = None,
    announce_cost: bool = True,
) -> Evaluation:
    """Trains, evaluates and writes `workdir`; the same call goes on with a stopped run.

    Several processes call it together, see `training.hosts`.

    Args:
      config: see configs/.
      workdir: of the run.
      on_evaluation: called at each evaluation of each network; it may end that network's training.
      announce_cost: whether to print how large the training is.

    Returns:
      The figures, as they are in `workdir`.

    Raises:
      InputError: bad input, or `workdir` belongs to another configuration or other data.
      Stopped: a signal came; the state is saved.
    """
    start = time.monotonic()
    with hosts.ended_together():
        environment.prepare()
        checks.check(config)
        hosts.agree(lambda: json.dumps(fields.essence(config), sort_keys=True), "configuration")
        with hosts.held_by_first(
            lambda: workdir_lib.claimed(workdir, config), pathlib.Path(workdir)
        ) as folder:
            evaluation = _run(config, folder, on_evaluation, announce_cost)
    print(f"{time.monotonic() - start:.0f} s. Everything is in {folder}/ (metrics.json first).")
    return evaluation


def _run(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    on_evaluation: OnEvaluation | None,
    announce_cost: bool,
) -> Evaluation:
    task, rule = registry.of(config), make_rule(config.split)
    initial.check_source(config, folder)
    if announce_cost:
        cost.announce(config)
    data = hosts.in_turn(lambda: task.load(config))
    rows = task.split(config, data.table)
    folds.check(config, data, rows)  # of all folds, before the first is trained
    first = hosts.in_turn(lambda: initial.prepare(config, rows, folder))
    beside = unlabelled.allowed(config, data, rows)
    hosts.in_turn(lambda: workdir_lib.claim_data(folder, config, rows, data.fingerprint, beside))
    environment.announce(config, rule, rows, data)
    members, predicted = [], []
    for split, home in folds.folders(rule, rows, folder):
        fit = functools.partial(
            folds.fit, data=data, split=split, initial=first, on_evaluation=on_evaluation
        )
        member, scored = calibrated.predict(folds.choose(config, home, fit), data, split)
        members.append(member)
        predicted.append(scored)
    network = TrainedNetwork(task, tuple(members))
    rows = pd.concat(predicted, ignore_index=True)
    return results.evaluate(config, data, network, rows, folder)

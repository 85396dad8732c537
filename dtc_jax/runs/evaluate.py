"""`--mode=evaluate`: the figures of a trained run, computed again from its best checkpoints."""

import dataclasses
import pathlib
from typing import Any

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError
from dtc_jax.evaluation import new_cohort, whole_scans
from dtc_jax.evaluation.whole_scans import SecondLook
from dtc_jax.experiment import calibrated, environment, folds, initial, network, results
from dtc_jax.experiment import workdir as workdir_lib
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.tasks import registry, unlabelled
from dtc_jax.tasks.trained import TrainedNetwork


def run(
    workdir: storage.PathLike,
    scans: storage.PathLike = "",
    candidates: storage.PathLike = "",
    manifest: storage.PathLike = "",
) -> dict[str, Any]:
    """Predicts every row with the run's best networks and writes its figures again.

    Args:
      workdir: of the run.
      scans: a manifest; if given, a segmenter is evaluated on its whole scans instead, and the
        results go into `workdir`/scans; see `whole_scans.evaluate`. The data of the run are not
        needed: its table of examples says whom it has seen.
      candidates: run of a second look at what is found in `scans`, see `tasks.candidates`; '' for
        none.
      manifest: if given, a classifier is evaluated on this labelled cohort instead, and the results
        go into `workdir`/cohorts; see `new_cohort.evaluate`.

    Returns:
      The figures, as they are in metrics.json.

    Raises:
      InputError: `workdir` is not the folder of a run, nothing in it was evaluated yet, or its
        data have changed since; or see `whole_scans.evaluate`.
      UsageError: the run trained a classifier, and `scans` is given; or it is a pipeline's.
    """
    environment.prepare()
    config = workdir_lib.read_config(workdir)
    task = registry.of(config)
    folder = pathlib.Path(workdir)
    if manifest:
        if config.task != "classification":
            raise UsageError(
                "--manifest evaluates a classifier on a labelled cohort, but this is the run of "
                f"{task.words.noun}; a segmenter is evaluated with --scans=CSV."
            )
        trained = _said(network.load_with_threshold(folder, config.task))
        seen = initial.seen_besides(folder, config)
        return new_cohort.evaluate(trained, manifest, folder, seen)
    if scans:
        if not task.finds_lesions:
            raise UsageError(
                "--scans evaluates a segmenter on whole scans, but this is the run of "
                f"{task.words.noun}."
            )
        known = _splits(folder, task.table, initial.seen_besides(folder, config))
        look = _second_look(pathlib.Path(candidates)) if candidates else None
        return whole_scans.evaluate(_said(network.load(folder)), known, scans, folder, look)
    trained, rule = network.load(folder), make_rule(config.split)
    data = task.load(config)
    rows = task.split(config, data.table)
    beside = unlabelled.allowed(config, data, rows)
    workdir_lib.claim_data(folder, config, rows, data.fingerprint, beside)
    splits = [split for split, _ in folds.folders(rule, rows, folder)]
    predicted = [
        calibrated.predict(member, data, split)
        for member, split in zip(trained.members, splits, strict=True)
    ]
    trained = dataclasses.replace(trained, members=tuple(member for member, _ in predicted))
    rows = pd.concat([scored for _, scored in predicted], ignore_index=True)
    return results.evaluate(config, data, trained, rows, folder).metrics


def _said(trained: TrainedNetwork) -> TrainedNetwork:
    """`trained`; prints whether its training was stopped before its end."""
    for note in results.notes(trained):
        print(f"  {note}")
    return trained


def _second_look(folder: pathlib.Path) -> SecondLook:
    """The networks of a run of candidates, each with the threshold of its fold."""
    trained = network.load_with_threshold(folder, "candidates")
    values = network.thresholds(folder)
    if len(values) != len(trained.members):
        raise InputError(f"{folder}: a fold has no threshold; run --mode=evaluate again.")
    classifiers = [
        make_classifier(dataclasses.replace(trained.member(number), threshold=float(value)))
        for number, value in enumerate(values)
    ]
    before = initial.seen_besides(folder, trained.config)
    return SecondLook(classifiers, _splits(folder, trained.task.table, before))


def _splits(folder: pathlib.Path, table: str, before: set[str]) -> list[pd.DataFrame]:
    """What each network of a run was given, by fold; the patients seen `before` trained all."""
    path = folder / table
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, and nothing else records which patients the run has seen; run "
            f"--mode=evaluate --workdir={folder} without --scans first."
        )
    cases = csv_reader.read_table(path, ("patient_id", "lesion_id"))
    earlier = pd.DataFrame({"patient_id": sorted(before), "split": "train"})
    return [pd.concat([rows, earlier]) for _, rows in cases.groupby("fold")]

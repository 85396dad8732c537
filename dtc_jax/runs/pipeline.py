"""`--mode=pipeline`: both networks on one split of the patients, evaluated together."""

import pathlib
import tempfile
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest
from dtc_jax.cohort.split_rule import Rule, make_rule
from dtc_jax.errors import UsageError
from dtc_jax.evaluation import cascade, cascade_figures, isolation
from dtc_jax.experiment import checks, cost, environment, initial, network
from dtc_jax.experiment import workdir as workdir_lib
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.runs import train
from dtc_jax.tasks import fields, registry, sources, unlabelled

_FIGURES, _REGIONS = "pipeline.json", "regions.csv"
_NAMES = tuple(isolation.TASKS)


def run(
    config: ml_collections.ConfigDict,
    workdir: storage.PathLike,
    candidates: storage.PathLike = "",
) -> dict[str, Any]:
    """Trains both networks in `workdir`/segmenter and /classifier and evaluates them together.

    Writes split.csv, regions.csv and pipeline.json, and prints the error budget. The same call goes
    on with a stopped one; the scans that are done are cached in `workdir`/regions. A call that is
    refused changes nothing.

    Args:
      config: see configs/pipeline.py.
      workdir: of the run.
      candidates: run that drops what is probably no lesion from what the segmenter finds; '' for
        none.

    Returns:
      The figures of pipeline.json.

    Raises:
      InputError: see `train`; or the patients of the test were seen by a network.
      Stopped: a signal came; the state is saved.
    """
    environment.prepare()
    rule = _check(config)
    perturbation = Perturbation(**config.perturb)
    configs = {name: composed(config, name) for name in _NAMES}
    for name, of_network in configs.items():
        checks.check(of_network)
        initial.check_source(of_network, pathlib.Path(workdir) / name)
        cost.announce(of_network, "configs/pipeline.py:demo")
    folder = workdir_lib.check(workdir, config, _free(config))
    path = sources.manifest_path(configs["classifier"])
    people = manifest.read_manifest(path, healthy=True)
    task = registry.of(configs["classifier"])
    rows = task.split(configs["classifier"], task.load(configs["classifier"]).table)
    shared, tested = isolation.share_split(rule, rows, people)
    _check_data(folder, configs, shared)
    if candidates:
        network.load_with_threshold(candidates, "candidates")  # refused before hours of training
        isolation.refuse_seen(pathlib.Path(candidates), tested)
    with workdir_lib.claimed(workdir, config, _free(config)):
        _drop_outdated_figures(folder)
        storage.write_table(folder / isolation.SPLIT, shared)
        for name, of_network in configs.items():
            print(f"--- {name}", flush=True)
            of_network.split.update(kind="file", file=str(folder / isolation.SPLIT))
            train.run(of_network, folder / name, announce_cost=False)
    hashes = isolation.isolated(folder, tested)
    networks = {
        "segmenter": network.load(folder / "segmenter", "segmentation"),
        "classifier": network.load_with_threshold(folder / "classifier", "classification"),
    }
    if candidates:
        networks["candidates"] = network.load_with_threshold(candidates, "candidates")
    scans = people[people.patient_id.isin(tested)]
    table, figures = cascade.evaluate(
        networks, scans, rows, perturbation, config.seed, folder / "regions"
    )
    figures = {"split": hashes, **figures}
    storage.write_table(folder / _REGIONS, table)
    storage.write_json(folder / _FIGURES, figures)
    print("\n".join(cascade_figures.summary(figures)))
    return figures


def _check(config: ml_collections.ConfigDict) -> Rule:
    if config.get("task") != "pipeline":
        raise UsageError(
            "--mode=pipeline trains two networks: give --config=configs/pipeline.py[:demo]."
        )
    rule = make_rule(config.split)
    if rule.unit != "patient" or rule.is_cross_validation:
        raise UsageError(
            "--mode=pipeline needs one split by whole patients: config.split.unit must be "
            "'patient' and config.split.folds 0."
        )
    if rule.first_patients or not rule.has_validation:
        raise UsageError(
            "--mode=pipeline gives all patients a side, and chooses on validation: "
            "config.split.first_patients must be 0, and config.split.kind not 'two_part'."
        )
    return rule


def _free(config: ml_collections.ConfigDict) -> set[str]:
    """The fields that may change when a run is resumed: no figure of it depends on them.

    Those of a network are the same as in a run of its own, except for what is done with whole
    scans, which are evaluated here; and those that `composed` replaces by the shared ones.
    """
    of_network = set(fields.FREE) - set(fields.OF_SCANS)
    of_network |= {f"split.{field}" for field in config.split}
    of_network |= {f"data.{field}" for field in config.data}
    of_network |= {f"data.phantom.{field}" for field in config.data.phantom}
    return {*fields.FREE, *(f"{name}.{field}" for name in _NAMES for field in of_network)}


def composed(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The configuration of one of the networks, on the data and the split of both."""
    of_network = config[name].copy_and_resolve_references()
    of_network.data.update(config.data.to_dict())
    of_network.split.update(config.split.to_dict())
    return of_network


def _check_data(
    folder: pathlib.Path, configs: dict[str, ml_collections.ConfigDict], shared: pd.DataFrame
) -> None:
    """Compares the data of both networks with those that they were started on; writes nothing.

    Raises:
      InputError: see `workdir.check` and `workdir.check_data`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / isolation.SPLIT
        storage.write_table(path, shared)
        for name, of_network in configs.items():
            of_network.split.update(kind="file", file=str(path))
            workdir_lib.check(folder / name, of_network)
            task = registry.of(of_network)
            data = task.load(of_network)
            rows = task.split(of_network, data.table)
            if not (folder / name / initial.RECORD).is_file():
                initial.refuse_seen(of_network, rows)
            beside = unlabelled.allowed(of_network, data, rows)
            workdir_lib.check_data(folder / name, of_network, rows, data.fingerprint, beside)


def _drop_outdated_figures(folder: pathlib.Path) -> None:
    """Deletes the figures of networks that are gone, until there are those of new ones.

    Someone who deletes a network to train it again would otherwise find the old figures beside it.
    """
    if not all((folder / name / workdir_lib.DATA).is_file() for name in _NAMES):
        for name in (_FIGURES, _REGIONS):
            (folder / name).unlink(missing_ok=True)

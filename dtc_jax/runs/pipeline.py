"""`--mode=pipeline`: both networks on one split of the patients, and what errors of the first cost.

The segmenter proposes regions, the classifier decides on them. Where each had its own split, the
classifier would be judged on regions of patients whom the segmenter was trained on, which are
better than those of new patients. Here nobody who is judged was seen by either.
"""

import dataclasses
import pathlib
import tempfile
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest
from dtc_jax.errors import UsageError
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.inference.classify import make_classifier
from dtc_jax.inference.segment import make_segmenter
from dtc_jax.runs import (
    cost,
    environment,
    isolation,
    kept_scans,
    kinds,
    networks,
    pipeline_figures,
    preflight,
    regions,
)
from dtc_jax.runs import data as data_lib
from dtc_jax.runs import workdir as workdir_lib
from dtc_jax.runs.train import train

_TASKS = ("segmenter", "classifier")
_FIGURES, _REGIONS = "pipeline.json", "regions.csv"
_JUDGED = ("patient_id", "lesion_id", "cohort", "label", "fold")


def pipeline(config: ml_collections.ConfigDict, workdir: storage.PathLike) -> None:
    """Trains both networks in `workdir`/segmenter and /classifier and judges them together.

    Writes split.csv, regions.csv and pipeline.json, and prints the error budget. The same call goes
    on with a stopped one; the scans that are judged already are kept in `workdir`/regions. A call
    that is refused changes nothing.

    Args:
      config: see configs/pipeline.py.
      workdir: of the run.

    Raises:
      InputError: see `train`; or the patients of the test were seen by a network.
      Stopped: a signal came; the state is saved.
    """
    environment.prepare()
    _check(config)
    perturbation = Perturbation(**config.perturb)
    configs = {name: composed(config, name) for name in _TASKS}
    for own in configs.values():
        preflight.check(own)
        cost.announce(own, "configs/pipeline.py:demo")
    folder = workdir_lib.check(workdir, config, _free(config))
    people = manifest.read_manifest(data_lib.manifest_path(configs["classifier"]), healthy=True)
    rows = data_lib.assign(config, data_lib.load(configs["classifier"]).table)
    shared, judged = isolation.share_split(config, rows, people)
    _check_data(folder, configs, shared)
    workdir_lib.claim(workdir, config, _free(config))
    _drop_figures_of_others(folder)
    storage.write_table(folder / isolation.SPLIT, shared)
    for name, own in configs.items():
        print(f"--- {name}", flush=True)
        own.split.update(kind="file", file=str(folder / isolation.SPLIT))
        train(own, folder / name)
    hashes = isolation.isolated(folder, judged)
    scans = people[people.patient_id.isin(judged)]
    known, tables = _tables(folder, scans, perturbation, config.seed)
    tested = rows.loc[rows.split == "test", list(_JUDGED)]
    threshold = networks.threshold(folder / "classifier")
    table = _joined(tables["lesions"], tested, threshold)
    storage.write_table(folder / _REGIONS, table)
    figures = {
        "split": hashes,
        "networks": known,
        "mask": configs["classifier"].preprocess.mask,
        "lesions_left_out": len(tested) - len(table),
        "cohorts": pipeline_figures.by_cohort(table, tables, scans, threshold),
        "perturbation": config.perturb.to_dict(),
    }
    storage.write_json(folder / _FIGURES, figures)
    print("\n".join(pipeline_figures.summary(figures)))


def _check(config: ml_collections.ConfigDict) -> None:
    if config.get("task") != "pipeline":
        raise UsageError(
            "--mode=pipeline trains two networks: give --config=configs/pipeline.py[:demo]."
        )
    if config.split.unit != "patient" or config.split.folds > 0:
        raise UsageError(
            "--mode=pipeline keeps whole patients apart, once: config.split.unit must be 'patient' "
            "and config.split.folds 0."
        )


def _free(config: ml_collections.ConfigDict) -> set[str]:
    """The fields that may change when a run is resumed: no figure of it hangs on them.

    Those of a network are the same as in a run of its own, but for what is done with whole scans,
    which are judged here; and those that `composed` replaces by the shared ones.
    """
    own = set(workdir_lib.FREE_FIELDS) - set(workdir_lib.OF_SCANS)
    own |= {f"split.{field}" for field in config.split} | {f"data.{field}" for field in config.data}
    own |= {f"data.phantom.{field}" for field in config.data.phantom}
    return {*workdir_lib.FREE_FIELDS, *(f"{name}.{field}" for name in _TASKS for field in own)}


def composed(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The configuration of one of the networks, on the data and the split of both."""
    own = config[name].copy_and_resolve_references()
    own.data.update(config.data.to_dict())
    own.split.update(config.split.to_dict())
    return own


def _check_data(
    folder: pathlib.Path, configs: dict[str, ml_collections.ConfigDict], shared: pd.DataFrame
) -> None:
    """Holds the data of both networks against those that they were started on; writes nothing.

    Raises:
      InputError: see `workdir.check` and `workdir.check_data`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / isolation.SPLIT
        storage.write_table(path, shared)
        for name, own in configs.items():
            own.split.update(kind="file", file=str(path))
            workdir_lib.check(folder / name, own)
            kind = kinds.of(own)
            data = kind.load(own)
            rows = kind.assign(own, data.table)
            workdir_lib.check_data(folder / name, own, rows, data.fingerprint)


def _drop_figures_of_others(folder: pathlib.Path) -> None:
    """Deletes the figures of networks that are no longer there, until there are those of new ones.

    Who deletes a network to train it again would else find the old figures beside the new network.
    """
    if not all((folder / name / workdir_lib.DATA).is_file() for name in _TASKS):
        for name in (_FIGURES, _REGIONS):
            (folder / name).unlink(missing_ok=True)


def _tables(
    folder: pathlib.Path, scans: pd.DataFrame, perturbation: Perturbation, seed: int
) -> tuple[dict[str, dict[str, str]], dict[str, pd.DataFrame]]:
    """The networks' fingerprints, and `regions.of_scan` of all scans.

    Scans of an earlier call that was stopped are kept.
    """
    (segmenter,) = networks.load(folder / "segmenter", "segmentation")
    (classifier,) = networks.load(folder / "classifier", "classification")
    threshold = networks.threshold(folder / "classifier")
    find = make_segmenter(segmenter.config, segmenter.result)
    decide = make_classifier([(classifier.config, classifier.result)], threshold)
    trained = dict(zip(_TASKS, (segmenter, classifier), strict=True))
    prints = {name: networks.fingerprints([one]) for name, one in trained.items()}
    known: dict[str, Any] = {
        "networks": list(prints.values()),
        "perturbation": dataclasses.asdict(perturbation),
        "seed": seed,
    }
    done = kept_scans.judge(
        scans,
        folder / "regions",
        data_lib.hashes(segmenter.config),
        lambda rows: known,
        lambda rows, partial: regions.of_scan(find, decide, rows, perturbation, seed),
    )
    return prints, kept_scans.gather(done)


def _joined(lesions: pd.DataFrame, tested: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The judged lesions with what is known of their regions, and the threshold of the decision.

    A lesion whose region lies within another one's has no region of its own: it is left out.
    """
    known = lesions.drop(columns=["patient_id", "scan_id"]).dropna(subset=["manual", "perturbed"])
    table = tested.merge(known, on="lesion_id", validate="one_to_one")
    return table.assign(threshold=threshold, label=table.label.astype(int))

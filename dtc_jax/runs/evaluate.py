"""`--mode=evaluate`: the figures of a trained run, computed again from its best checkpoints."""

import pathlib

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.errors import InputError, UsageError
from dtc_jax.runs import environment, fold, kinds, networks, whole_scans
from dtc_jax.runs import workdir as workdir_lib
from dtc_jax.tasks import registry


def evaluate(workdir: storage.PathLike, scans: storage.PathLike = "") -> None:
    """Predicts every row with the run's best networks and writes its figures again.

    Args:
      workdir: of the run.
      scans: a manifest; if given, a segmenter is judged on its whole scans instead, and what comes
        of it goes into `workdir`/scans; see `whole_scans.judge`. The data of the run are not
        needed: whom it has seen says its cases.csv.

    Raises:
      InputError: `workdir` is not the folder of a run, nothing in it was evaluated yet, or its
        data have changed since; or see `whole_scans.judge`.
      UsageError: the run trained a classifier, and `scans` is given; or it is a pipeline's.
    """
    environment.prepare()
    config = workdir_lib.read_config(workdir)
    if scans and config.task != "segmentation":
        raise UsageError("--scans judges a segmenter on whole scans; this run has none.")
    registry.of(config)
    folder = pathlib.Path(workdir)
    if scans:
        whole_scans.judge(networks.load(folder, config.task), _splits(folder), scans, folder)
        return
    kind = kinds.of(config)
    data = kind.load(config)
    rows = kind.assign(config, data.table)
    workdir_lib.claim_data(folder, config, rows, data.fingerprint)
    splits = [split for split, _ in fold.folders(config, rows, folder)]
    trained = networks.load(folder, config.task)
    scored = [
        fold.predict(network, data, split) for network, split in zip(trained, splits, strict=True)
    ]
    kind.judge(config, data, trained, pd.concat(scored, ignore_index=True), folder)


def _splits(folder: pathlib.Path) -> list[pd.DataFrame]:
    """What each network of a segmentation run was given, by fold."""
    path = folder / workdir_lib.CASES
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, and nothing else says whom the run has seen; give "
            f"--mode=evaluate --workdir={folder} without --scans first."
        )
    cases = csv_reader.read_table(path, ("patient_id", "lesion_id"))
    return [rows for _, rows in cases.groupby("fold")]

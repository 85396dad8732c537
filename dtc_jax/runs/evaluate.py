"""`--mode=evaluate`: the figures of a trained run, computed again from its best checkpoints."""

import pathlib

import pandas as pd

from dtc_jax import storage
from dtc_jax.runs import environment, fold, kinds
from dtc_jax.runs import workdir as workdir_lib


def evaluate(workdir: storage.PathLike) -> None:
    """Predicts every row with the run's best networks and writes its figures again.

    Raises:
      InputError: `workdir` is not the folder of a run, nothing in it was evaluated yet, or its
        data have changed since.
    """
    environment.prepare()
    config = workdir_lib.read_config(workdir)
    kind = kinds.of(config)
    data = kind.load(config)
    rows = kind.assign(config, data.table)
    folder = pathlib.Path(workdir)
    workdir_lib.claim_data(folder, config, rows, data.fingerprint)
    networks, scored = [], []
    for split, home in fold.folders(config, rows, folder):
        networks.append(fold.choose(config, data, split, home, fold.read))
        scored.append(fold.predict(networks[-1], data, split))
    kind.judge(config, data, networks, pd.concat(scored, ignore_index=True), folder)

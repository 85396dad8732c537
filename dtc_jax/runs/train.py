"""`--mode=train`: a hold-out run, or patient-wise cross-validation where config.split.folds > 0."""

import functools
import time

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.runs import cost, environment, fold, kinds, preflight
from dtc_jax.runs import workdir as workdir_lib


def train(config: ml_collections.ConfigDict, workdir: storage.PathLike) -> None:
    """Trains, judges and writes `workdir`; the same call goes on with a stopped run.

    Raises:
      InputError: bad input, or `workdir` belongs to another configuration or other data.
      Stopped: a signal came; the state is saved.
    """
    start = time.monotonic()
    environment.prepare()
    preflight.check(config)
    kind = kinds.of(config)
    with workdir_lib.starting(workdir, config) as folder:
        cost.announce(config)
        data = kind.load(config)
        rows = kind.assign(config, data.table)
        workdir_lib.claim_data(folder, config, rows, data.fingerprint)
    environment.announce(config, rows, data.flow)
    networks, scored = [], []
    for split, home in fold.folders(config, rows, folder):
        fit = functools.partial(fold.fit, data=data, split=split)
        networks.append(fold.choose(config, home, fit))
        scored.append(fold.predict(networks[-1], data, split))
    kind.judge(config, data, networks, pd.concat(scored, ignore_index=True), folder)
    print(f"{time.monotonic() - start:.0f} s. Everything is in {folder}/ (metrics.json first).")

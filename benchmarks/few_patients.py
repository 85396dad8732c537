r"""How good is a network that learns from few patients, beside hand-made features of the same ones?

    python -m benchmarks.few_patients FOLDER [--patients=51] [--cohorts=2] [--skip=0] \
      [--phantom=480] [--fields="FIELD=VALUE;FIELD=VALUE"] [--table=CSV] [--name=NAME]

A phantom cohort of 480 patients is generated and built in FOLDER once (1400 for four cohorts of
240, or one of 960, with --phantom=1400). 140 of its patients are the test. Each small cohort is
drawn from the others without overlap, 9 of 51 patients for validation; the network of
`configs/senet.py:demo`, with the fields given, and the baseline `features` learn from it alone and
are tested on the same 140 patients. AUC is also given by size, since a lesion of few voxels is a
task of its own. With --skip the first cohorts are left out: those that a stopped run has done.
With --table each cohort becomes a row at the end of a CSV, from which
`docs/learning_curve_picture.py` draws the learning curve. About a minute a cohort of 51 on two
quiet cores, after 15 minutes for the phantom.
"""

import argparse
import ast
import functools
import os
import pathlib
import shutil

import ml_collections
import numpy as np
import pandas as pd

from configs import senet
from dtc_jax.cohort import phantom
from dtc_jax.experiment import environment, folds
from dtc_jax.statistics import baselines, roc
from dtc_jax.tasks import classification, lesion_figures, overrides
from dtc_jax.tasks.sources import Data

_TESTED, _SEED = 140, 1000
_VALIDATION_SHARE = 9 / 51
_SMALL_MM = 8.0
Cohort = dict[str, int]  # of which phantom, how many patients, which of them


def _config(folder: pathlib.Path, pool: int, fields: str) -> ml_collections.ConfigDict:
    pairs = (pair.split("=", 1) for pair in fields.split(";") if pair)
    changed = {name: ast.literal_eval(value) for name, value in pairs}
    config = overrides.overridden(senet.get_config("demo"), changed, "--fields")
    config.data.phantom.update(patients=pool, external_patients=0, seed=_SEED)
    config.data.folder = str(folder)
    return config


def _splits(table: pd.DataFrame, patients: int, cohorts: int) -> list[pd.DataFrame]:
    """The rows of each small cohort with its split, and those of the test."""
    people = np.random.default_rng(0).permutation(table.patient_id.unique())
    tested, rest = people[-_TESTED:], people[:-_TESTED]
    if patients * cohorts > len(rest):
        raise SystemExit(f"{cohorts} cohorts of {patients} patients: there are {len(rest)} in all.")
    validated = round(patients * _VALIDATION_SHARE)
    splits = []
    for number in range(cohorts):
        own = rest[number * patients : (number + 1) * patients]
        split = dict.fromkeys(tested, "test") | dict.fromkeys(own[:validated], "validation")
        split |= dict.fromkeys(own[validated:], "train")
        rows = table.assign(fold=0, split=table.patient_id.map(split))
        splits.append(rows[rows.split.notna()].reset_index(drop=True))
    return splits


def _auc(rows: pd.DataFrame, column: str) -> list[float]:
    """Of all test lesions, of the small ones and of the others."""
    test = rows[rows.split == "test"]
    small = test.diameter_mm < _SMALL_MM
    parts = (test, test[small], test[~small])
    return [float(roc.auc(part.label.to_numpy(float), part[column])) for part in parts]


def _tried(config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the scores of the network and of `features`."""
    folder = pathlib.Path(config.data.folder) / f"training-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    member = folds.choose(config, folder, functools.partial(folds.fit, data=data, split=rows))
    scored = folds.predict(member, data, rows)
    shutil.rmtree(folder)
    inputs = lesion_figures.baseline_inputs(data, rows)["features"]
    train = (rows.split == "train").to_numpy()
    labels = rows.label.to_numpy(np.float64)
    return scored.assign(features=baselines.scores("features", inputs, labels, train))


def _add(path: pathlib.Path, name: str, cohort: Cohort, figures: tuple[float, ...]) -> None:
    """A row for the network and one for `features`, at the end of the table `path`."""
    sizes = ("auc", "auc_small", "auc_large")
    rows = [
        {**cohort, "name": who, **dict(zip(sizes, values, strict=True))}
        for who, values in ((name, figures[:3]), ("features", figures[3:]))
    ]
    pd.DataFrame(rows).to_csv(path, mode="a", header=not path.exists(), index=False)


def main() -> None:
    """Prints a line a cohort, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--patients", type=int, default=51)
    parser.add_argument("--cohorts", type=int, default=2)
    parser.add_argument("--skip", type=int, default=0, help="cohorts that are left out")
    parser.add_argument("--phantom", type=int, default=480, help="patients of the phantom in all")
    parser.add_argument(
        "--fields", default="", help="such as train.epochs=80;augment.resampled=0.0"
    )
    parser.add_argument("--table", type=pathlib.Path, help="a CSV to which rows are added")
    parser.add_argument("--name", default="network", help="of the network in that table")
    given = parser.parse_args()
    environment.prepare()
    config = _config(given.folder, given.phantom, given.fields)
    data = classification.load(config)
    figures = []
    splits = _splits(data.table, given.patients, given.cohorts)
    for number, rows in list(enumerate(splits))[given.skip :]:
        scored = _tried(config, data, rows)
        figures.append((*_auc(scored, "score"), *_auc(scored, "features")))
        print("cohort", *(f"{value:.3f}" for value in figures[-1]), flush=True)
        if given.table:
            cohort = {"phantom": given.phantom, "patients": given.patients, "cohort": number}
            _add(given.table, given.name, cohort, figures[-1])
    mean = np.mean(figures, axis=0)
    for name, values in (("network", mean[:3]), ("features", mean[3:])):
        all_, small, large = values
        print(f"{name:<9} AUC {all_:.3f}  below {_SMALL_MM:g} mm {small:.3f}  above {large:.3f}")
    print(f"attainable {phantom.attainable_auc(phantom.PhantomSpec(seed=_SEED)):.3f}")


if __name__ == "__main__":
    main()

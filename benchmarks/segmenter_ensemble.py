"""Dice of several segmenters alone and of the mean of their logits, on what all of them test.

    python -m benchmarks.segmenter_ensemble RUN RUN …

The runs need the same data and the same test patients. Intervals are clustered by patient; the
difference is paired, the ensemble less the mean of the single ones.
"""

import dataclasses
import pathlib
import sys

import numpy as np
import pandas as pd

from dtc_jax import progress
from dtc_jax.experiment import environment, network
from dtc_jax.imaging.preprocess import IGNORED, crop
from dtc_jax.statistics.estimate import mean
from dtc_jax.statistics.formatting import estimate
from dtc_jax.tasks.trained import TrainedNetwork


def main(runs: list[pathlib.Path]) -> None:
    """Prints a line for each run, for all together and for the difference."""
    environment.prepare()
    each = [network.load(run, "segmentation") for run in runs]
    if len({run.name for run in runs}) < len(runs) or any(len(one.members) > 1 for one in each):
        sys.exit("give runs of different names, none of them cross-validated.")
    members = tuple(member for one in each for member in one.members)
    data = each[0].task.load(each[0].config)
    tested = [_tested(run) for run in runs]
    table = data.table
    cases = table[table.lesion_id.isin(set.intersection(*tested)) & (table.label == 1)]
    networks = {run.name: one for run, one in zip(runs, each, strict=True)}
    networks["mean of their logits"] = dataclasses.replace(each[0], members=members)
    dice = pd.DataFrame({name: _dice(one, data, cases) for name, one in networks.items()})
    patients = cases.patient_id.to_numpy(str)
    print(f"{len(cases)} patches with a lesion of {len(set(patients))} patients; mean Dice, median")
    for name, column in dice.items():
        values = column.to_numpy()
        print(f"  {name:<24}{estimate(mean(values, patients).as_dict())}, {np.median(values):.3f}")
    gain = dice["mean of their logits"] - dice[[run.name for run in runs]].mean(axis=1)
    print(f"  {'difference':<24}{estimate(mean(gain.to_numpy(), patients).as_dict(), sign='+')}")


def _tested(run: pathlib.Path) -> set[str]:
    cases = pd.read_csv(run / "cases.csv", dtype=str)
    return set(cases.lesion_id[cases.split == "test"])


def _dice(one: TrainedNetwork, data, cases: pd.DataFrame) -> list[float]:
    """Of each of the cases, in their order."""
    spec, found = one.task.make_predict_preprocess(one.config), []
    for position in progress.track(cases.position, "patches"):
        record = data.records[position]
        probability = np.asarray(one.probability(record["image"][None], record["mask"][None]))[0]
        mask = probability > one.config.predict.threshold
        known = crop(record["mask"], spec, np, edge=False)
        true, mask = known == 1, mask & (known != IGNORED)
        found.append(2 * (mask & true).sum() / (mask.sum() + true.sum()))
    return found


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(list(map(pathlib.Path, sys.argv[1:])))

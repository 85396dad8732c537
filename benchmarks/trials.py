r"""What does each item of the augmentation do? On validation patients, so that no test is used up.

    DTC_JAX_DATA=DIR python -m benchmarks.trials FOLDER [--folds=5] [--first=5] \
      [--only=NAME,NAME] [--start=RUN]

The network with the near field of view of `configs/senet.py:lidc` is trained once for each trial
and each fold, and judged after its last epoch on the fold's validation patients, who choose
nothing. Each trial is compared with `base` on the same nodules: AUC and cross-entropy, paired and
clustered by patient, and Holm's adjustment for the number of trials. What is finished is kept in
FOLDER, so that the same command goes on after an interruption. With --start, a trial `start` begins
with the weights of a run of other patients. About a minute a network on two quiet cores.
"""

import argparse
import functools
import pathlib
import shutil
from typing import Any

import ml_collections
import numpy as np
import pandas as pd
from scipy import special

from configs import common, senet
from dtc_jax.experiment import environment, folds, initial
from dtc_jax.statistics import comparison, roc
from dtc_jax.statistics.formatting import estimate, p_value
from dtc_jax.tasks import classification, overrides
from dtc_jax.tasks.sources import Data

Fields = dict[str, Any]
# Strengths were decided before anything was trained.
TRIALS: dict[str, Fields] = {
    "base": {},
    "mixup": {"augment.mixup": 0.2},
    "cutout": {"augment.cutout": 0.5},
    "elastic": {"augment.elastic_mm": 2.0},
    "kernels": {"augment.softer_mm": 0.8, "augment.sharper": 0.8},
    "ct-noise": {"augment.noise_grain_mm": 0.5},
    "stochastic-depth": {"model.stochastic_depth": 0.3},
    "no-flip": {"augment.flip": (0.0, 0.0, 0.0)},
    "no-rotation-zoom": {"augment.rotate_deg": (0.0, 0.0, 0.0), "augment.scale": 0.0},
    "no-shift": {"augment.shift_mm": 0.0},
    "no-interpolation": {"augment.resampled": 0.0},
    "no-intensity": {"augment.hu_shift": 0.0, "augment.hu_scale": 0.0},
    "no-noise": {"augment.noise_hu": 0.0},
    "no-cut-extent": {"augment.visible_extent": (0.0, 0.0, 0.0)},
    "no-augmentation": common.augmentation_off(),
    "no-dropout": {"model.dropout": 0.0},
}


def _base(count: int) -> ml_collections.ConfigDict:
    """The near network of `lidc` alone, after its last epoch."""
    config = senet.get_config("lidc")
    near = config.candidates["near"].to_dict()
    with config.unlocked():
        config.candidates = {}
        config.combine = "best"
        for section, fields in near.items():
            config[section].update(fields)
        config.split.folds = count
        config.train.keep = "last"
    return config


def _trained(
    config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame, folder: pathlib.Path
) -> pd.DataFrame:
    """The validation rows of one fold with the network's probability; resumes in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    start = initial.prepare(config, rows, folder)
    get = functools.partial(folds.fit, data=data, split=rows, initial=start)
    member = folds.choose(config, folder, get)
    scored = folds.predict(member, data, rows[rows.split == "validation"])
    return scored[["lesion_id", "patient_id", "fold", "label", "score"]]


def _entropy(rows: pd.DataFrame) -> np.ndarray:
    """Of each row. # [N]"""
    score = rows.score.clip(1e-12, 1 - 1e-12)
    return np.asarray(-np.log(np.where(rows.label == 1, score, 1 - score)))


def _table(scored: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a trial: its figures and those of its differences from `base`."""
    base, rows, p = scored.pop("base"), [], []
    patients = base.patient_id.to_numpy(str)
    for name, trial in ({"base": base} | scored).items():
        logits = [special.logit(one.score.to_numpy()) for one in (trial, base)]
        auc = comparison.paired(base.label.to_numpy(float), *logits, patients)
        entropy = comparison.paired_means(_entropy(trial), _entropy(base), patients)
        row = {
            "trial": name,
            "AUC": f"{roc.auc(base.label.to_numpy(float), logits[0]):.3f}",
            "cross-entropy": f"{_entropy(trial).mean():.3f}",
        }
        if name != "base":
            row["AUC − base"] = estimate(auc.estimate.as_dict(), sign="+")
            row["cross-entropy − base"] = estimate(entropy.estimate.as_dict(), sign="+")
            p.append(entropy.p)
        rows.append(row)
    table = pd.DataFrame(rows)
    if p:
        table["P, Holm"] = ["", *map(p_value, comparison.holm(np.array(p)))]
    return table.fillna("")


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="only so many folds; 0 for all")
    parser.add_argument("--only", default=",".join(TRIALS), help="names of trials beside base")
    parser.add_argument("--start", default="", help="a run, for the trial 'start'")
    given = parser.parse_args()
    trials = TRIALS | ({"start": {"init_from": given.start}} if given.start else {})
    wanted = ["base", *(name for name in given.only.split(",") if name != "base")]
    wanted += ["start"] * bool(given.start)
    if unknown := [name for name in wanted if name not in trials]:
        parser.error(f"there is no trial {unknown[0]!r}; choose from {', '.join(trials)}")
    environment.prepare()
    base = _base(given.folds)
    data = classification.load(base)
    every = classification.split(base, data.table)
    count = given.first or given.folds
    for fold, rows in list(every.groupby("fold"))[:count]:
        for name in wanted:
            file = given.folder / name / f"{fold:02d}.csv"
            if file.exists():
                continue
            config = overrides.overridden(base, trials[name], name)
            training = file.with_suffix("")
            scored = _trained(config, data, rows.reset_index(drop=True), training)
            scored.to_csv(file, index=False)
            shutil.rmtree(training)
            print(f"fold {fold} {name}: cross-entropy {_entropy(scored).mean():.4f}", flush=True)
    found = {
        name: pd.concat(
            pd.read_csv(given.folder / name / f"{fold:02d}.csv") for fold in range(count)
        )
        for name in wanted
    }
    first = found["base"]
    print(
        f"{len(first)} validation rows, {first.lesion_id.nunique()} nodules of "
        f"{first.patient_id.nunique()} patients, {count} of {given.folds} folds"
    )
    print(_table(found).to_string(index=False))


if __name__ == "__main__":
    main()

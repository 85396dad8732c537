r"""What does each item of the augmentation do? On validation patients.

    DTC_JAX_DATA=DIR python -m benchmarks.trials FOLDER [--folds=5] [--first=3] \
      [--only=NAME,NAME] [--start=RUN]

The network with the near field of view of `configs/senet.py:lidc` is trained once for each trial
and each fold, and judged after its last epoch on the fold's validation patients, who choose
nothing. Each trial is compared with `base` on the same nodules: AUC, the mean over the folds, and
cross-entropy, paired and clustered by patient, with Holm's adjustment of the P of the cross-entropy
for the trials shown. The interval is that of these networks: it covers other patients, not another
seed. How much a seed alone does is the trial `base-again`, and a difference that is not clearly
larger shows nothing.

The validation patients of a fold are test patients of another one in the cross-validation of
`lidc`, so its figures would be optimistic for an item that was adopted because of this table.

What is finished is kept in FOLDER, so that the same command goes on after an interruption. With
--start, a trial `start` begins with the weights of a run of other patients. About a minute a
network on two quiet cores.
"""

import argparse
import functools
import pathlib
import shutil
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from configs import common, senet
from dtc_jax import csv_reader, storage
from dtc_jax.cohort import splits
from dtc_jax.experiment import environment, folds, initial, workdir
from dtc_jax.statistics import comparison, roc
from dtc_jax.statistics.formatting import estimate, number, p_value
from dtc_jax.tasks import classification, fields, overrides
from dtc_jax.tasks.sources import Data

Fields = dict[str, Any]
# Strengths were decided before anything was trained.
TRIALS: dict[str, Fields] = {
    "base": {},
    "base-again": {"seed": 1},
    "mixup": {"augment.mixup": 0.2},
    "cutout": {"augment.cutout": 0.8, "augment.cutout_mm": 24.0},
    "elastic": {"augment.elastic_mm": 4.0},
    "kernels": {"augment.softer_mm": 0.8, "augment.sharper": 0.8},
    "ct-noise": {"augment.noise_grain_mm": 0.5},
    "stochastic-depth": {"model.stochastic_depth": 0.3},
    "close-crop": {"preprocess.crop_mm": (20, 20, 20), "model.stages": 3},
    "no-flip": {"augment.flip": (0.0, 0.0, 0.0)},
    "no-rotation-zoom": {"augment.rotate_deg": (0.0, 0.0, 0.0), "augment.scale": 0.0},
    "no-shift": {"augment.shift_mm": 0.0},
    "no-resampling": {"augment.resampled": 0.0},  # neither rotation nor zoom nor interpolation
    "no-intensity": {"augment.hu_shift": 0.0, "augment.hu_scale": 0.0},
    "no-noise": {"augment.noise_hu": 0.0},
    "no-cut-extent": {"augment.visible_extent": (0.0, 0.0, 0.0)},
    "no-augmentation": common.augmentation_off() | {"augment.mixup": 0.0},
    "no-dropout": {"model.dropout": 0.0},
}


def _base(count: int) -> ml_collections.ConfigDict:
    """The near network of `lidc` alone, after its last epoch."""
    config = senet.get_config("lidc")
    near = config.candidates["near"].to_dict()
    with config.unlocked():
        config.candidates = {}
        config.combine = "best"
        for section, values in near.items():
            config[section].update(values)
        config.split.folds = count
        config.train.keep = "last"
    return config


def _trained(
    config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame, folder: pathlib.Path
) -> pd.DataFrame:
    """The validation rows of one fold with the network's probability; resumes in `folder`."""
    workdir.claim(folder, config)
    start = initial.prepare(config, rows, folder)
    get = functools.partial(folds.fit, data=data, split=rows, initial=start)
    member = folds.choose(config, folder, get)
    scored = folds.predict(member, data, rows[rows.split == "validation"])
    return scored[["lesion_id", "patient_id", "fold", "label", "score"]]


def _kept(
    config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame, file: pathlib.Path
) -> pd.DataFrame:
    """`_trained`, kept in `file` with what it was trained by; a file of something else is refused.

    Raises:
      SystemExit: the file is that of another configuration or another split.
    """
    by = {
        "fields": fields.essence(config),
        "start": config.init_from,
        "split": splits.fingerprint(rows),
    }
    record, training = file.with_suffix(".json"), file.with_suffix("")
    if not file.exists():
        scored = _trained(config, data, rows, training)
        storage.write_json(record, by)
        storage.write_table(file, scored)
        shutil.rmtree(training)
        print(f"{training}: cross-entropy {_entropy(scored).mean():.4f}", flush=True)
    elif storage.read_json(record) != by:
        raise SystemExit(f"{file}: is of another configuration or split; choose another folder.")
    return csv_reader.read_table(file, ("lesion_id", "patient_id"))


def _entropy(rows: pd.DataFrame) -> np.ndarray:
    """Cross-entropy of each row, in nats. # [N]"""
    score = rows.score.clip(1e-12, 1 - 1e-12)
    return np.asarray(-np.log(np.where(rows.label == 1, score, 1 - score)))


def _auc(rows: pd.DataFrame) -> float:
    """The mean over the folds, whose networks have scales of their own."""
    parts = [part for _, part in rows.groupby("fold")]
    return float(np.mean([roc.auc(part.label.to_numpy(), part.score) for part in parts]))


def _table(scored: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a trial: its figures and those of its differences from `base`."""
    base, rows, p = scored["base"], [], []
    patients = base.patient_id.to_numpy(str)
    for name, trial in scored.items():
        assert trial.lesion_id.tolist() == base.lesion_id.tolist()
        entropy = comparison.paired_means(_entropy(trial), _entropy(base), patients)
        row = {
            "trial": name,
            "AUC": f"{_auc(trial):.3f}",
            "cross-entropy": f"{_entropy(trial).mean():.3f}",
        }
        if name != "base":
            row["AUC − base"] = number(_auc(trial) - _auc(base), sign="+")
            row["cross-entropy − base"] = estimate(entropy.estimate.as_dict(), sign="+")
            p.append(entropy.p)
        rows.append(row)
    table = pd.DataFrame(rows)
    if p:
        table["P of cross-entropy, Holm"] = ["", *map(p_value, comparison.holm(np.array(p)))]
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
    count = given.first or given.folds
    if count > given.folds:
        parser.error(f"--first is {count}, and there are {given.folds} folds")
    environment.prepare()
    base = _base(given.folds)
    data = classification.load(base)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in wanted}
    for fold, rows in list(classification.split(base, data.table).groupby("fold"))[:count]:
        for name in wanted:
            config = overrides.overridden(base, trials[name], name)
            file = given.folder / name / f"{fold:02d}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            parts[name].append(_kept(config, data, rows.reset_index(drop=True), file))
    scored = {name: pd.concat(each, ignore_index=True) for name, each in parts.items()}
    print(
        f"{len(scored['base'])} validation rows, {scored['base'].lesion_id.nunique()} nodules of "
        f"{scored['base'].patient_id.nunique()} patients, {count} of {given.folds} folds"
    )
    print(_table(scored).to_string(index=False))


if __name__ == "__main__":
    main()

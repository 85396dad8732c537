"""The figures of a classifier: decisions at a threshold from validation, beside the baselines'."""

from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import progress
from dtc_jax.cohort import persons
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.imaging import features
from dtc_jax.statistics import baselines, sex, tables, threshold
from dtc_jax.statistics.formatting import count, estimate
from dtc_jax.tasks import inputs, ratings, unlabelled
from dtc_jax.tasks import summary as summary_lib
from dtc_jax.tasks.definition import Evaluation
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.summary import Figures
from dtc_jax.tasks.trained import TrainedNetwork

PREDICTIONS = "predictions.csv"  # all lesions, with their split and score
_COLUMNS = (
    *("run", "cohort", "split", "fold", "patient_id", "lesion_id", "center", "diameter_mm"),
    *("age", "sex", "label", "score", "threshold", "threshold_source", "decision"),
)
_DETAILS = (
    *("scanner", "kvp", "tube_current_ma", "kernel", "pixel_mm", "slice_mm"),
    *("diameter_given_mm", "volume_mm3", "mean_hu", "label_reason"),
)


def evaluate(
    config: ml_collections.ConfigDict,
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    run: str,
) -> Evaluation:
    """The figures beside the baselines'; thresholds are chosen on validation.

    Args:
      config: see configs/senet.py.
      data: the cohort and its crops.
      network: with a member a fold.
      rows: all lesions with fold, split and score.
      run: its name, for the tables.
    """
    decided = threshold.apply(rows.assign(run=run), config.threshold)
    table = decided.reindex(columns=columns(rows)).astype({"label": int, "decision": int})
    compared = baselines.predict(table, baseline_inputs(data, rows), config.threshold)
    rule = make_rule(config.split)
    notes = [*data.notes, *rule.notes(rows), *sex.note(rows), *_cut_off(config, rows)]
    figures: dict[str, Any] = {
        "network": tables.metrics(table),
        "baselines": {name: tables.metrics(part) for name, part in compared.groupby("run")},
        "split": rule.describe(rows),
        "candidates": network.candidates,
        "notes": notes,
        "flow": [vars(step) for step in data.flow],
    }
    files = {PREDICTIONS: table, "baselines.csv": compared, "lesions.csv": details(config, data)}
    if unlabelled.are_learned(config):
        learned = unlabelled.of_run(config, data, rows)
        figures["unlabelled"] = unlabelled.counts(learned, rows.fold.unique())
        notes.append(unlabelled.sentence(figures["unlabelled"]))
        files[unlabelled.FILE] = unlabelled.table(learned)
    return Evaluation(
        figures,
        files,
        summary(figures, network),
        report_of=PREDICTIONS,
    )


def _cut_off(config: ml_collections.ConfigDict, rows: pd.DataFrame) -> list[str]:
    """How many lesions are longer than what the network sees of them, if any; `diameter_mm`."""
    if "diameter_mm" not in rows:
        return []
    sides_mm = [min(c.preprocess.crop_mm[1:]) for c in inputs.variants(config).values()]
    lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
    longer = int((lesions.diameter_mm > max(sides_mm)).sum())
    if not longer:
        return []
    return [
        f"longer than the field of view of {max(sides_mm):g} mm, so that the network sees only a "
        f"part: {longer} of {count(len(lesions), 'lesion')}; enlarge config.preprocess.crop_mm if "
        "these matter"
    ]


def columns(rows: pd.DataFrame) -> list[str]:
    """The columns of predictions.csv and baselines.csv for these lesions."""
    return persons.with_others(_COLUMNS, rows)


def details(config: ml_collections.ConfigDict, data: Data) -> pd.DataFrame:
    """lesions.csv: what is known of each lesion besides its prediction, ratings included."""
    wanted = dict.fromkeys([*_DETAILS, *ratings.columns(config)])
    present = [column for column in wanted if column in data.table]
    return data.table[["patient_id", "lesion_id", *present]]


def summary(figures: Figures, network: TrainedNetwork) -> str:
    """The test figures as lines of text, see `tasks.summary`."""
    return summary_lib.summary(figures, network.task.words.network, _head, _line)


def baseline_inputs(data: Data, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """What the baselines see; the features are computed once a lesion, from its stored crop."""
    by_position: dict[int, Any] = {}
    for position in progress.track(
        rows.drop_duplicates("position").position, "features for the baselines"
    ):
        record = data.records[position]
        by_position[position] = features.features(record["image"], record["mask"], record["extent"])
    return baselines.inputs(
        diameter_mm=rows.diameter_mm.to_numpy(),
        box_mm=rows[[f"box_mm_{axis}" for axis in "zyx"]].to_numpy(),
        scan_box_mm=rows[[f"scan_box_mm_{axis}" for axis in "zyx"]].to_numpy(),
        features=np.stack([by_position[position] for position in rows.position]),
        age=rows.age.to_numpy() if "age" in rows else None,
        sex=rows.sex.to_numpy() if "sex" in rows else None,
    )


def _head(test: Figures) -> str:
    return (
        f"{count(test['lesions'], 'lesion')} of {count(test['patients'], 'patient')} "
        f"({test['positives']} positive), 95 % intervals"
    )


def _line(row: Figures) -> str:
    names = {"auc": "AUC", "accuracy": "accuracy", "sensitivity": "sens", "specificity": "spec"}
    text = "  ".join(f"{short} {estimate(row[name])}" for name, short in names.items())
    # A baseline does not score a lesion of which it lacks an input.
    scored = f"  (n {row['lesions']} of {row['lesions'] + row['without_score']})"
    return text + scored if row["without_score"] else text

"""The figures of a second look: what it keeps of the nodules and of the false candidates."""

from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.cohort import persons
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import UsageError
from dtc_jax.statistics import detection, tables
from dtc_jax.statistics.formatting import estimate, number
from dtc_jax.tasks import candidate_data, lesion_figures
from dtc_jax.tasks.definition import Evaluation
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.summary import Figures, summary
from dtc_jax.tasks.trained import TrainedNetwork

_COLUMNS = (
    *("run", "cohort", "split", "fold", "patient_id", "scan_id", "lesion_id", "view"),
    *("diameter_mm", "label", "segmenter_score", "score"),
    *("threshold", "threshold_source", "decision"),
)


def evaluate(
    config: ml_collections.ConfigDict,
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    run: str,
) -> Evaluation:
    """The figures beside those of the segmenter's own certainty, at a threshold from validation.

    Args:
      config: see configs/candidates.py.
      data: the findings.
      network, rows, run: see `definition.Definition`.
    """
    counted = candidate_data.whole_scans(config, rows)
    by_score = {"network": rows, "segmenter": rows.assign(score=rows.segmenter_score)}
    decided = {name: _decide(part, counted, config.threshold) for name, part in by_score.items()}
    columns = persons.with_others(_COLUMNS, rows)
    table = decided["network"].assign(run=run).reindex(columns=columns)
    figures = {
        "network": _figures(decided["network"], counted),
        "baselines": {"segmenter": _figures(decided["segmenter"], counted)},
        "split": make_rule(config.split).describe(rows),
        "candidates": network.candidates,
        "notes": data.notes,
    }
    text = summary(figures, network.task.words.network, _head, _line)
    return Evaluation(figures, {lesion_figures.PREDICTIONS: table}, text, curves=("loss",))


def _decide(rows: pd.DataFrame, counted: pd.DataFrame, rule: str) -> pd.DataFrame:
    """`rows` with threshold, threshold_source and decision.

    The threshold of a fold allows the wanted number of false candidates a scan in the whole scans
    that are validation in any fold, but for those of patients whom the fold tests: a single fold
    seldom has a whole scan to validate on.

    Args:
      rows: findings with fold, split, label and score.
      counted: patient_id, fold, split and scan_id of the whole scans.
      rule: of `parse`.
    """
    per_scan, table = parse(rule), rows.assign(threshold=np.nan, threshold_source="")
    validated = rows[(rows.split == "validation") & rows.scan_id.isin(counted.scan_id)]
    validation = counted[counted.split == "validation"]
    for _, part in rows.groupby("fold"):
        tested = set(part.patient_id[part.split == "test"])
        own = validated[~validated.patient_id.isin(tested)]
        count = int((~validation.patient_id.isin(tested)).sum())
        value, source = 0.5, "0.5 by default: no whole scan is validation"
        if count:
            false = own.score[own.label == 0].to_numpy(float)
            value = detection.threshold_for(false, own.score.to_numpy(float), per_scan * count)
            source = f"{rule} on {count} validated scans"
        table.loc[part.index, ["threshold", "threshold_source"]] = [value, source]
    return table.assign(decision=(table.score >= table.threshold).astype(float))


def parse(rule: str) -> float:
    """How many false candidates a scan the rule 'false_positives:N' allows.

    Raises:
      UsageError: it is no such rule.
    """
    name, _, value = str(rule).partition(":")
    if name != "false_positives" or not value.replace(".", "", 1).isdigit() or float(value) <= 0:
        raise UsageError(
            f"config.threshold is {rule!r}; give 'false_positives:N', N of them a scan, such as "
            "'false_positives:4'."
        )
    return float(value)


def _figures(table: pd.DataFrame, counted: pd.DataFrame) -> dict[str, Any]:
    """`tables.metrics`, and the false candidates a whole scan before and after the threshold."""
    figures = tables.metrics(table)
    for cohort, by_split in figures.items():
        for name, values in by_split.items():
            part = table[(table.cohort == cohort) & (table.split == name)]
            false = part[(part.label == 0) & part.scan_id.isin(counted.scan_id)]
            count = int(((counted.cohort == cohort) & (counted.split == name)).sum())
            values["scans"] = count
            values["false_candidates_per_scan"] = len(false) / count if count else None
            values["false_positives_per_scan"] = (
                float(false.decision.sum()) / count if count else None
            )
    return figures


def _head(test: Figures) -> str:
    before = number(test["false_candidates_per_scan"])
    return (
        f"{test['positives']} nodules and {test['lesions'] - test['positives']} false candidates "
        f"of {test['patients']} patients, {before} false ones a whole scan (n {test['scans']})"
    )


def _line(row: Figures) -> str:
    after = number(row["false_positives_per_scan"])
    return (
        f"AUC {estimate(row['auc'])}  keeps {estimate(row['sensitivity'])} of the nodules  {after} "
        "false ones a whole scan"
    )

"""The figures of a segmenter: Dice of held-out patches beside its baselines, and their slices."""

from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.cohort import persons
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.imaging.outlined import Outlined, largest_slice
from dtc_jax.imaging.preprocess import crop
from dtc_jax.statistics import dice
from dtc_jax.statistics.formatting import estimate
from dtc_jax.tasks import dice_baselines
from dtc_jax.tasks.definition import Evaluation
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.summary import Figures, summary
from dtc_jax.tasks.trained import TrainedNetwork

CASES = "cases.csv"  # all patches, with their split and Dice
_COLUMNS = (
    *("run", "cohort", "split", "fold", "patient_id", "lesion_id", "center", "diameter_mm"),
    *("true_voxels", "found_voxels", "overlap_voxels", "dice", "loss"),
)
_SHOWN = 6  # patches


def evaluate(
    config: ml_collections.ConfigDict,
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    run: str,
) -> Evaluation:
    """The figures beside the baselines', and slices of test patches from the worst to the best.

    Args:
      config: see configs/vnet.py.
      data: the patches.
      network: with a member a fold.
      rows: all patches with fold, split and the columns of the task.
      run: its name, for the table.
    """
    spec = network.task.make_predict_preprocess(config)
    baselines = dice_baselines.predict(data.records, rows, spec)
    table = (
        rows.assign(run=run).reindex(columns=persons.with_others(_COLUMNS, rows)).join(baselines)
    )
    rule = make_rule(config.split)
    centred = dice.metrics(table.assign(dice=table.dice.where(table.dice_ball.notna())))
    figures = {
        "network": dice.metrics(table),
        "network_where_centred": centred,
        "baselines": {name: dice.metrics(table, name) for name in baselines},
        "split": rule.describe(rows),
        "candidates": network.candidates,
        "notes": [*data.notes, *rule.notes(rows)],
    }
    return Evaluation(
        figures,
        {CASES: table},
        summary(_shown(figures), network.task.words.network, _head, _line, _empty),
        curves=("loss", "dice"),
        slices=_slices(data, network, rows),
    )


def _shown(figures: dict[str, Any]) -> dict[str, Any]:
    """With the network on the patches of the baselines below it, where those are not all."""
    network, centred = figures["network"], figures["network_where_centred"]
    numbers = [
        [of["test"]["dice"]["n"] for of in one.values() if "test" in of]
        for one in (network, centred)
    ]
    if numbers[0] == numbers[1]:
        return figures
    return figures | {"baselines": {"lesion in middle": centred, **figures["baselines"]}}


def _slices(data: Data, network: TrainedNetwork, rows: pd.DataFrame) -> list[Outlined]:
    tested = rows[(rows.split == "test") & rows.dice.notna()].sort_values("dice")
    if tested.empty:
        return []
    ranks = np.unique(np.linspace(0, len(tested) - 1, _SHOWN).round().astype(int))
    by_fold = {fold: network.member(fold) for fold in tested.iloc[ranks].fold.unique()}
    return [_slice(data, by_fold[row.fold], row) for row in tested.iloc[ranks].itertuples()]


def _slice(data: Data, network: TrainedNetwork, row) -> Outlined:
    """The axial slice of a patch that shows most of its lesion."""
    spec = network.task.make_predict_preprocess(network.config)
    record = data.records[row.position]
    hu = crop(record["image"], spec, np)  # [D, H, W]
    true = crop(record["mask"], spec, np, edge=False) == 1
    batch = (record["image"][None], record["mask"][None])
    probability = np.asarray(network.probability(*batch))[0]
    found = probability > network.config.predict.threshold
    z = largest_slice(true)
    side = (spec.spacing_mm, spec.spacing_mm)
    return Outlined(hu[z], found[z], true[z], side, f"Dice {row.dice:.2f}")


def _head(test: Figures) -> str:
    return (
        f"{test['dice']['n']} patches with lesion of {test['dice']['patients']} patients; mean "
        "Dice (95 % interval), median"
    )


def _line(row: Figures) -> str:
    figure, median = estimate(row["dice"]), row["median_dice"]
    return figure if median is None else f"{figure}, {median:.3f}, n = {row['dice']['n']}"


def _empty(test: Figures) -> Iterator[str]:
    if test["empty_cases"]:
        yield (
            f"{test['empty_cases']} patches without lesion; something found in "
            f"{test['empty_cases_with_finding']}"
        )

"""The figures of a sweep: every variant beside the base, from what its trials left."""

import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import csv_reader
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.experiment import cost, learned
from dtc_jax.statistics import ablation, predictions_table
from dtc_jax.statistics.formatting import count
from dtc_jax.sweep import folder as folder_lib
from dtc_jax.sweep import halving, whole_scans
from dtc_jax.sweep.plan import Plan, Trial
from dtc_jax.tasks import inputs, lesion_figures, registry
from dtc_jax.training import logs

_IDS = ("patient_id", "lesion_id", "cohort", "split")


def figures(folder: pathlib.Path, plan: Plan) -> dict[str, Any]:
    """The figures of the variants of which a trial is done, in the order of the sweep file.

    Args:
      folder: of the sweep.
      plan: of the sweep.

    Returns:
      figure, margin, base, notes, and of each variant `fields`, `trials` (seed -> done or why not),
      `cost`, and the figures of `statistics.ablation.compare` as far as a trial is done.
    """
    is_lesions = registry.of(plan.trials[0].config).table == lesion_figures.PREDICTIONS
    kind: ablation.Kind = ablation.Lesions() if is_lesions else ablation.Patches()
    done = {trial.name for trial in plan.trials if folder_lib.is_done(folder, trial)}
    failed = folder_lib.failed(folder)
    has_scans = folder_lib.manifest_sum(folder) is not None
    cohort = make_rule(plan.trials[0].config.split).cohort
    examples, variants, scans = {}, {}, {}
    for name, fields in plan.variants.items():
        trials = plan.of_variant(name)
        tables = {
            trial.seed: _table(folder, trial, is_lesions) for trial in trials if trial.name in done
        }
        if tables:
            examples[name] = kind.examples(tables, cohort)
        variants[name] = {
            "fields": dict(fields),
            "trials": {
                str(t.seed): "done" if t.name in done else failed.get(t.name, "open")
                for t in trials
            },
            "cost": _cost(folder, trials),
        }
        if has_scans:
            scans[name] = whole_scans.estimates(folder, trials)
    found = ablation.compare(kind, examples, plan.base, plan.margin)
    variants = {name: row | found.get(name, {}) for name, row in variants.items()}
    for name, of_scans in scans.items():
        variants[name]["estimates"] = variants[name].get("estimates", {}) | of_scans
    return {
        "figure": kind.figure,
        "names": dict(kind.names) | (whole_scans.NAMES if has_scans else {}),
        "base": plan.base,
        "margin": plan.margin,
        "cohort": cohort,
        "variants": variants,
        "notes": [
            *_notes(plan, variants, examples),
            *(whole_scans.notes(folder, plan, done) if has_scans else ()),
            *_ended_early(folder),
        ],
    }


def _table(folder: pathlib.Path, trial: Trial, is_lesions: bool) -> pd.DataFrame:
    path = folder_lib.workdir_of(folder, trial) / registry.of(trial.config).table
    return predictions_table.read(path) if is_lesions else csv_reader.read_table(path, _IDS)


def _cost(folder: pathlib.Path, trials: tuple[Trial, ...]) -> dict[str, Any]:
    """Parameters, operations on an example in prediction, seconds a step in the median, memory.

    The first two are of all networks that decide together on a split, and of one view; where the
    best of the candidates decides, of the largest.
    """
    parameters, flops = zip(*map(_size, inputs.variants(trials[0].config).values()), strict=True)
    over = sum if inputs.combines(trials[0].config) else max
    rows = [
        row
        for trial in trials
        for path in folder_lib.workdir_of(folder, trial).rglob("metrics.jsonl")
        for row in logs.read(path.parent)
    ]
    rates = [rate for row in rows if (rate := row.get("train/steps_per_second"))]
    peaks = [peak for row in rows if (peak := row.get("train/peak_memory"))]
    return {
        "parameters": over(parameters),
        "flops": over(flops),
        "seconds_a_step": 1 / float(np.median(rates)) if rates else None,
        "peak_memory": max(peaks, default=None),
    }


def _size(config: ml_collections.ConfigDict) -> tuple[int, float]:
    """Parameters and operations of the networks of a candidate, all alike: `train.ensemble`."""
    params, _ = learned.shapes(config)
    count = inputs.networks(config)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return count * parameters, count * cost.forward_flops(config)[1]


def _ended_early(folder: pathlib.Path) -> list[str]:
    ended = halving.ended(folder)
    if not ended:
        return []
    return [
        f"{count(len(ended), 'trial')} ended early, behind on validation: {', '.join(ended)}. "
        "Their figures are those of shorter trainings."
    ]


def _notes(
    plan: Plan, variants: dict[str, Any], examples: dict[str, ablation.Examples]
) -> list[str]:
    """What a reader of the table has to know."""
    total, done = len(plan.variants), len(examples)
    looked_at = count(total, "variant") if done == total else f"{done} of {total} variants"
    notes = [
        f"{looked_at} were looked at; Holm's P covers the comparisons of all of them with "
        f"{plan.base}. The rows are in the order of the sweep file. None was chosen by these "
        "figures; whoever now chooses one needs other patients to test it on."
    ]
    several = any(len(plan.of_variant(name)) > 1 for name in plan.variants)
    notes.append(
        "Figures are means over the seeds; intervals are clustered by patient and hold for the "
        "trained networks. What another seed would give is seen in the range over the seeds."
        if several
        else "One seed a variant: a difference may be one of seeds."
    )
    for name, row in variants.items():
        states = row["trials"]
        missing = [seed for seed, state in states.items() if state != "done"]
        for why in dict.fromkeys(states[seed] for seed in missing):
            seeds = [seed for seed in missing if states[seed] == why]
            notes.append(f"{name}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}: {why}")
        if "compared" in row and row["compared"] < len(examples[name].rows):
            notes.append(
                f"{name}: compared on {row['compared']} of {len(examples[name].rows)} examples, "
                f"those that {plan.base} was tested on as well."
            )
    if plan.base not in examples:
        notes.append(f"{plan.base} has no figures yet, so nothing is compared with it.")
    return notes

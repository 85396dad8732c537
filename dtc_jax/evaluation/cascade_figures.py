"""The figures of both networks together by cohort, and what is printed of them."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dtc_jax.evaluation import whole_scans
from dtc_jax.statistics import detection, error_budget
from dtc_jax.statistics.formatting import estimate


def by_cohort(
    lesions: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    scans: pd.DataFrame,
    threshold: float,
) -> dict[str, Any]:
    """The budget of a cohort's tested lesions, and detection in the scans of its patients.

    Args:
      lesions: see `error_budget.error_budget`, with `cohort`.
      tables: see `whole_scans.figures_of`; the candidates with `probability`.
      scans: patient_id and cohort of all patients of the test, those without a lesion among them.
      threshold: from which probability on a false positive is a false alarm.

    Returns:
      JSON values; a cohort without a tested lesion has no `budget`.
    """
    figures = {}
    for cohort, patients in scans.groupby("cohort", sort=False).patient_id:
        of_cohort = {kind: table[table.patient_id.isin(patients)] for kind, table in tables.items()}
        whole = whole_scans.without_cubes(of_cohort)
        false = whole["candidates"][whole["candidates"].is_false]
        alarms = false[false.probability >= threshold]
        rows = lesions[lesions.cohort == cohort]
        figures[str(cohort)] = {
            **({"budget": error_budget.error_budget(rows)} if len(rows) else {}),
            "detection": whole_scans.figures_of(of_cohort),
            "false_alarms_per_scan": detection.false_positives(whole["scans"], alarms).as_dict(),
        }
    return figures


def summary(figures: dict[str, Any]) -> Iterator[str]:
    """The figures of a pipeline, a line each."""
    for cohort, of_cohort in figures["cohorts"].items():
        if "budget" in of_cohort:
            yield from _budget(cohort, of_cohort["budget"])
        else:
            yield f"{cohort}, test: no lesion to decide on"
        yield f"  false alarms (refractory) a scan  {estimate(of_cohort['false_alarms_per_scan'])}"
        yield "  " + whole_scans.summary(of_cohort["detection"]).replace("\n", "\n  ")
    if figures["lesions_left_out"]:
        yield f"  left out, their regions covered by others: {figures['lesions_left_out']} lesions"
    yield f"  the classifier sees the region: {figures['mask']} (config.preprocess.mask)"
    yield "  splits: " + ", ".join(f"{k} {v[:12]}" for k, v in figures["split"].items())


def _budget(cohort: str, budget: dict[str, Any]) -> Iterator[str]:
    first = budget["regions"]["manual"]
    yield (
        f"{cohort}, test: {first['lesions']} lesions of {first['patients']} patients "
        f"({first['positives']} refractory), whom neither network has seen; 95 % intervals"
    )
    for name, region in budget["regions"].items():
        dice = (
            f"  Dice {region['dice']['value']:.3f}" if region.get("dice", {}).get("value") else ""
        )
        if "changed" in region:
            dice += f", {region['changed']} regions changed"
        yield f"  {name:<16} n {region['lesions']:<4} AUC {estimate(region['auc'])}  accuracy " + (
            f"{estimate(region['accuracy'])}{dice}"
        )
    for name, difference in budget["differences"].items():
        yield f"  AUC, {name}: {estimate(difference, sign='+') if difference else 'n/a'}"
    for name, group in budget["cascade"].items():
        yield (
            f"  of {group['lesions']} {name} lesions {group['found']} are found, "
            f"{group['found_and_right']} of these decided rightly (by hand: "
            f"{group['right_by_hand']} of {group['lesions']})"
        )

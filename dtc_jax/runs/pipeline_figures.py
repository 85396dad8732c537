"""The figures of `--mode=pipeline` by cohort, and what is printed of them."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dtc_jax.runs import whole_scans
from dtc_jax.statistics import detection, error_budget
from dtc_jax.statistics.formatting import estimate


def by_cohort(
    lesions: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    scans: pd.DataFrame,
    threshold: float,
) -> dict[str, Any]:
    """The budget of a cohort's judged lesions, and detection in the scans of its patients.

    Args:
      lesions: see `error_budget.error_budget`, with `cohort`.
      tables: see `detection.detection`; the candidates with `probability`.
      scans: patient_id and cohort of all who were judged, those without a lesion among them.
      threshold: from which probability on a false positive is a false alarm.

    Returns:
      JSON values; a cohort without a judged lesion has no `budget`.
    """
    found = {}
    for cohort, patients in scans.groupby("cohort", sort=False).patient_id:
        own = {kind: one[one.patient_id.isin(patients)] for kind, one in tables.items()}
        false = own["candidates"][own["candidates"].is_false]
        alarms = false[false.probability >= threshold]
        how = {"resamples": 2000, "seed": 0}
        rows = lesions[lesions.cohort == cohort]
        found[str(cohort)] = {
            **({"budget": error_budget.error_budget(rows)} if len(rows) else {}),
            "detection": {
                **detection.detection(**own),
                "shared_voxels": int(own["scans"].shared_voxels.sum()),
            },
            "false_alarms_per_scan": detection.false_positives(
                own["scans"], alarms, **how
            ).as_dict(),
        }
    return found


def summary(figures: dict[str, Any]) -> Iterator[str]:
    """The figures of a pipeline, a line each."""
    for cohort, found in figures["cohorts"].items():
        if "budget" in found:
            yield from _budget(cohort, found["budget"])
        else:
            yield f"{cohort}, test: no lesion to decide on"
        yield f"  false alarms (refractory) a scan  {estimate(found['false_alarms_per_scan'])}"
        yield "  " + whole_scans.summary(found["detection"]).replace("\n", "\n  ")
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
    for name, one in budget["regions"].items():
        dice = f"  Dice {one['dice']['value']:.3f}" if one.get("dice", {}).get("value") else ""
        if "changed" in one:
            dice += f", {one['changed']} regions changed"
        yield f"  {name:<16} n {one['lesions']:<4} AUC {estimate(one['auc'])}  accuracy " + (
            f"{estimate(one['accuracy'])}{dice}"
        )
    for name, one in budget["differences"].items():
        yield f"  AUC, {name}: {estimate(one, sign='+') if one else 'n/a'}"
    for name, one in budget["cascade"].items():
        yield (
            f"  of {one['lesions']} {name} lesions {one['found']} are found, "
            f"{one['found_and_right']} of these decided rightly (by hand: "
            f"{one['right_by_hand']} of {one['lesions']})"
        )

"""Dice over cases with its interval; cases without a lesion are counted, but not averaged."""

from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics.estimate import UNIT, mean, plain


def metrics(cases: pd.DataFrame, column: str = "dice") -> dict[str, dict[str, dict[str, Any]]]:
    """Figures of each split of each cohort, with folds pooled.

    Args:
      cases: cohort, split, patient_id, true_voxels and found_voxels of each case, and `column`.
      column: with Dice, NaN if a case has no lesion; 'dice' belongs to `found_voxels`, other
        columns to baselines.

    Returns:
      {cohort: {split: figures}}, JSON values without NaN.
    """
    return {
        str(cohort): {str(split): _figures(group, column) for split, group in rows.groupby("split")}
        for cohort, rows in cases.groupby("cohort", sort=False)
    }


def _figures(group: pd.DataFrame, column: str) -> dict[str, Any]:
    with_lesion = group[group[column].notna()]
    empty = group[group.true_voxels == 0]
    figures = {
        "cases": len(group),
        "patients": int(group.patient_id.nunique()),
        "dice": mean(
            with_lesion[column].to_numpy(), with_lesion.patient_id.to_numpy(str), UNIT
        ).as_dict(),
        "median_dice": plain(float(np.median(with_lesion[column]))) if len(with_lesion) else None,
        "empty_cases": len(empty),
    }
    if column == "dice":
        figures["empty_cases_with_finding"] = int((empty.found_voxels > 0).sum())
    return figures

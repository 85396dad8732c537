"""Dice over cases, with its interval; cases without lesion are counted apart, never averaged."""

from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics.estimate import mean, plain


def metrics(cases: pd.DataFrame, column: str = "dice") -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of each cohort's splits, folds pooled.

    Args:
      cases: cohort, split, patient_id, true_voxels and found_voxels of each case, and `column`.
      column: Dice, NaN where a case has no lesion; 'dice' is that of `found_voxels`, others are
        those of baselines.

    Returns:
      {cohort: {split: figures}}, JSON values without NaN.
    """
    return {
        str(cohort): {str(split): _figures(group, column) for split, group in rows.groupby("split")}
        for cohort, rows in cases.groupby("cohort", sort=False)
    }


def _figures(group: pd.DataFrame, column: str) -> dict[str, Any]:
    known = group[group[column].notna()]
    empty = group[group.true_voxels == 0]
    figures = {
        "cases": len(group),
        "patients": int(group.patient_id.nunique()),
        "dice": mean(known[column].to_numpy(), known.patient_id.to_numpy(str)).as_dict(),
        "median_dice": plain(float(np.median(known[column]))) if len(known) else None,
        "empty_cases": len(empty),
    }
    if column == "dice":
        figures["empty_cases_with_finding"] = int((empty.found_voxels > 0).sum())
    return figures

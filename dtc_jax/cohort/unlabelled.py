"""The side of a hold-out split for patients without a labelled lesion, or without any lesion.

They have no label to stratify by, so they are not part of the split of the others, which does not
depend on them. They follow its rule as far as possible.
"""

from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.cohort.manifest import SPLITS
from dtc_jax.errors import InputError, unknown_choice

_COLUMNS = {"column": "split", "temporal": "scan_order", "center": "center"}  # what a kind needs


def assign(table: pd.DataFrame, others: pd.DataFrame, split: Any) -> pd.DataFrame:
    """Assigns patients without a labelled lesion to training, validation and test.

    With kind 'column' their side is the one that is given. With 'temporal' those are tested whose
    first scan is not before that of every other tested patient; with 'center' those of the centre
    that is left out. With 'holdout' `test_fraction` of them are drawn, at least one, so that some
    are tested. But for 'column', `validation_fraction` of the rest are drawn for validation.

    Args:
      table: their rows of the manifest.
      others: patient_id, scan_order and split of the lesions of the others, see `splits.assign`.
      split: the same as theirs.

    Returns:
      patient_id and split, a row a patient, by patient.

    Raises:
      InputError: the column that the kind needs has gaps, or a patient is on two sides.
      UsageError: a side is none.
    """
    rows = table.sort_values("patient_id", ignore_index=True)
    if rows.empty:
        return pd.DataFrame({"patient_id": [], "split": []}, dtype=object)
    _check_filled(rows, split.kind)
    patients = rows.patient_id.unique()
    rng = np.random.default_rng([split.seed, *b"healthy"])
    if split.kind == "column":
        names = rows.split
    elif split.kind == "center":
        names = _sides(rows.center == split.center)
    elif split.kind == "temporal":
        tested = others[others.split == "test"]
        start = tested.groupby("patient_id").scan_order.min().min()
        names = _sides(rows.groupby("patient_id").scan_order.transform("min") >= start)
    else:
        count = max(round(split.test_fraction * len(patients)), 1)
        names = _sides(rows.patient_id.isin(rng.permutation(patients)[:count]))
    found = _by_patient(rows, names)
    if split.kind != "column":
        rest = found.index[found == "train"].to_numpy()
        drawn = rng.permutation(rest)[: round(split.validation_fraction * len(rest))]
        found[drawn] = "validation"
    return found.rename_axis("patient_id").reset_index(name="split")


def _sides(is_tested: pd.Series) -> pd.Series:
    return is_tested.map({True: "test", False: "train"})


def _check_filled(rows: pd.DataFrame, kind: str) -> None:
    column = _COLUMNS.get(kind, "patient_id")
    gaps = rows.patient_id[rows[column].isna()]
    if len(gaps):
        raise InputError(
            f"config.split.kind is {kind!r}, but {column} is empty for {len(gaps)} of {len(rows)} "
            f"rows of patients without a labelled lesion (such as one of patient {gaps.iloc[0]}); "
            "fill it in, or choose another kind."
        )


def _by_patient(rows: pd.DataFrame, names: pd.Series) -> pd.Series:
    """The side of each patient. # index: patient_id"""
    sides = names.groupby(rows.patient_id)
    divided = sides.nunique()
    divided = divided.index[divided > 1]
    if len(divided):
        raise InputError(
            f"split: {len(divided)} patients without a labelled lesion are on more than one side, "
            f"such as {divided[0]}; give all scans of a patient the same side."
        )
    found = sides.first().astype(object)
    for name in found:
        if name not in SPLITS:
            raise unknown_choice("split", name, SPLITS)
    return found

"""Lesions without a label, beside a split: which may be learned from with its training rows.

They have no part in the split, which does not depend on them. A person is in training with such
lesions only where the rule of the split would not have put the person into validation or test.
"""

import numpy as np
import pandas as pd

from dtc_jax.cohort import persons
from dtc_jax.cohort.split_rule import Rule


def to_learn_from(rule: Rule, table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that may be learned from beside the training rows of a split.

    They are of the divided cohort, and of no person with a lesion in validation or test, whether
    patients or lesions are divided. Further by the kind of the split:

    * 'column': a row that is in training as given, or on no side while its person's labelled
      lesions are in training; none of a person with a row on another side.
    * 'file': the person is in training as given.
    * 'center': no row of the person is of the centre that is left out.
    * 'temporal': the person's labelled lesions are in training, or the first scan is before that of
      every tested person; unknown dates are not.
    * with `first_patients`, the person has labelled lesions that take part.

    Args:
      rule: of the split.
      table: lesions without a label, as the manifest has them.
      rows: of `Rule.assign`, of one fold.

    Raises:
      InputError: see `Rule.sides_of_file`.
    """
    own = rule.of_cohort(table)
    held_out = persons.are_among(own, persons.ids(rows[rows.split != "train"]))
    in_training = persons.are_among(own, persons.ids(rows[rows.split == "train"]))
    may = ~held_out & _may(rule, own, rows, in_training)
    return own[may & in_training if rule.first_patients else may]


def _may(rule: Rule, own: pd.DataFrame, rows: pd.DataFrame, in_training: np.ndarray) -> np.ndarray:
    """Which rows the kind of the split allows. # [N] bool"""

    def of_persons(which: pd.Series) -> np.ndarray:
        return which.groupby(own.patient_id).transform("any").to_numpy(bool)

    if rule.kind == "column":
        elsewhere = of_persons(own.split.notna() & (own.split != "train"))
        return ~elsewhere & ((own.split == "train").to_numpy() | in_training)
    if rule.kind == "file":
        return (own.patient_id.map(rule.sides_of_file()) == "train").to_numpy()
    if rule.kind == "center":
        return ~of_persons(own.center == rule.center)
    if rule.kind == "temporal":
        tested = rule.of_cohort(rows[rows.split == "test"])
        start = tested.groupby("patient_id").scan_order.min().min()
        known = ~of_persons(own.scan_order.isna())
        first = own.groupby("patient_id").scan_order.transform("min").to_numpy()
        return in_training | (known & (first < start))
    return np.ones(len(own), bool)

"""Groups of lesions drawn so that both classes come in equal shares on every side.

Rows have lesion_id, label (0 or 1), meaning (its name, a categorical) and group, which is never
divided: a patient, or a lesion.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from dtc_jax.errors import InputError, UsageError
from dtc_jax.statistics.formatting import count as counted

_MOST_FOLDS = 20  # of which a share is drawn: fine enough for 15 %


def drawn(rows: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """A stratified share of the groups: three of ten folds for .3, three of twenty for .15. # [N]

    The other number of folds that comes nearest where there are few groups, since either side needs
    both classes.
    """
    fewest, name = _scarcest(rows)

    def taken(count: int) -> int:
        return min(max(round(fraction * count), 1), count - 1)

    counts = range(2, min(fewest, _MOST_FOLDS) + 1)
    for count in sorted(counts, key=lambda n: round(abs(taken(n) / n - fraction), 9)):
        folds = _folds(rows, count, seed)
        # The largest group is always in the first fold: which folds to take has to be drawn, too.
        order = np.random.default_rng(seed).permutation(count)
        for start in range(count):
            side = np.any([folds[i] for i in np.roll(order, start)[: taken(count)]], axis=0)
            if rows.label[side].nunique() == rows.label[~side].nunique() == 2:
                return side
    raise InputError(
        f"split: lesions that are {name} are too few to draw from: {counted(fewest, 'patient')} "
        "with one, and each side needs one. Add patients, or choose another config.split.kind."
    )


def _folds(rows: pd.DataFrame, count: int, seed: int) -> list[np.ndarray]:
    """Stratified folds that keep groups whole. # count x [N] bool"""
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    parts = folds.split(rows, rows.label, rows.group)
    return [np.isin(np.arange(len(rows)), part) for _, part in parts]


def cross_validation(rows: pd.DataFrame, split: Any) -> list[np.ndarray]:
    """The test rows of each fold. # folds x [N] bool"""
    most, unit = rows.group.nunique(), f"{split.unit}s"
    if most >= split.folds:
        most, name = _scarcest(rows)
        unit += f" with a lesion that is {name}"
    if not 2 <= split.folds <= most:
        advice = f"use 2 to {most} folds" if most >= 2 else "add patients"
        raise UsageError(
            f"config.split.folds is {split.folds}, and there are {most} {unit}; {advice}."
        )
    return _folds(rows, split.folds, split.seed)


def _scarcest(rows: pd.DataFrame) -> tuple[int, str]:
    """In how many groups the class occurs that occurs in fewest, and its name."""
    names = rows.meaning.cat.categories
    return min((rows.group[rows.meaning == name].nunique(), name) for name in names)

"""What a manifest says of a lesion beyond its class: a graded target, ratings, a weight.

`config.loss` names the columns. Only those of training lesions are read, and none is an input of
the network, so that it can be used on lesions of which nothing is known.

A *graded* column is a finer version of the label (uptake in per cent, the mean rating of several
readers). It is mapped to [0, 1] and mixed into the label, which becomes soft. *Auxiliary* columns
are learned beside the class by regression (Caruana 1997, "Multitask learning"). They may be learned
from lesions without a label, too, see `unlabelled`. The class never is, not even where the graded
value is known: that refines a label, and does not replace it.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import csv_reader
from dtc_jax.errors import InputError, UsageError


def check(config: Any) -> None:
    """Refuses impossible values of config.loss.

    Raises:
      UsageError: names the field.
    """
    loss = config.loss
    ends = tuple(loss.get("graded_range", (0.0, 1.0)))
    if len(ends) != 2 or not all(map(_is_finite, ends)) or ends[0] == ends[1]:
        raise UsageError(f"config.loss.graded_range={ends}: give two different numbers.")
    if not 0 <= loss.get("graded_share", 0.0) <= 1:
        raise UsageError(f"config.loss.graded_share={loss.graded_share}: use a value in [0, 1].")
    for name, weight in auxiliary(config).items():
        if not (_is_finite(weight) and weight > 0):
            raise UsageError(f"config.loss.auxiliary.{name}={weight}: use a finite weight above 0.")
    if learns_unlabelled(config) and not auxiliary(config):
        raise UsageError(
            "config.loss.unlabelled=True: lesions without a label teach config.loss.auxiliary "
            "alone, which is empty; name columns there, or set unlabelled to False."
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def auxiliary(config: Any) -> dict[str, float]:
    """Columns that are learned beside the class, and the weight of each in the loss."""
    return dict(config.loss.get("auxiliary", {}))


def learns_unlabelled(config: Any) -> bool:
    """Whether lesions without a label teach what is learned beside the class; earlier runs: no."""
    return bool(config.loss.get("unlabelled", False))


def columns(config: Any) -> list[str]:
    """All columns of the manifest that `config.loss` names."""
    single = (config.loss.get(field, "") for field in ("graded", "lesion_weight"))
    return [*filter(None, single), *auxiliary(config)]


def targets(config: Any, training: pd.DataFrame) -> np.ndarray | None:
    """The soft label of each training lesion, and its standardized ratings.

    A lesion whose graded value is unknown keeps its label. One without a label has no soft one
    either, and only its ratings are learned.

    Args:
      config: its field `loss` has graded (a column, or ''), graded_range (the values that become 0
        and 1; the first may be the larger), graded_share (of the graded value in the target) and
        auxiliary (column -> weight).
      training: rows with label and those columns.

    Returns:
      [N, 1 + A] float32; a label or rating is NaN where it is unknown. None where `config.loss`
      names no column.

    Raises:
      InputError: a column is missing, holds words or infinity, or has no value or the same one
        everywhere.
    """
    graded, names = config.loss.get("graded", ""), list(auxiliary(config))
    if not graded and not names:
        return None
    soft = training.label.to_numpy(np.float64, copy=True)
    if graded:
        low, high = config.loss.graded_range
        is_labelled = np.isfinite(soft)
        label, value = soft[is_labelled], _varied(training[is_labelled], graded, "graded")
        value = np.clip((value - low) / (high - low), 0.0, 1.0)
        mixed = (1 - config.loss.graded_share) * label + config.loss.graded_share * value
        soft[is_labelled] = np.where(np.isfinite(value), mixed, label)
    columns = [soft]
    for name in names:
        value = _varied(training, name, f"auxiliary.{name}")
        columns.append((value - np.nanmean(value)) / np.nanstd(value))
    return np.stack(columns, axis=1).astype(np.float32)


def are_rated(config: Any, lesions: pd.DataFrame) -> np.ndarray:
    """Which lesions have a value of one auxiliary column at least. # [N] bool

    Raises:
      InputError: a column is missing, or holds words or infinity.
    """
    values = [_column(lesions, name, f"auxiliary.{name}") for name in auxiliary(config)]
    return np.asarray(np.isfinite(values).any(axis=0))


def weights(config: Any, training: pd.DataFrame) -> np.ndarray:
    """The weight of each training lesion, of mean 1, by `config.loss.lesion_weight`. # [N]

    Raises:
      InputError: the column is missing, or a value is not a finite number above 0.
    """
    name = config.loss.get("lesion_weight", "")
    if not name:
        return np.ones(len(training))
    value = _column(training, name, "lesion_weight")
    if not (value > 0).all():
        lesion = training.lesion_id.to_numpy()[~(value > 0)][0]
        raise InputError(
            f"config.loss.lesion_weight: {name} of lesion {lesion} is not a number above 0."
        )
    return value / value.mean()


def _varied(training: pd.DataFrame, name: str, field: str) -> np.ndarray:
    """`_column`, which must have two values at least."""
    value = _column(training, name, field)
    if len(np.unique(value[np.isfinite(value)])) < 2:
        raise InputError(
            f"config.loss.{field}: column {name} has the same value, or none, for all training "
            "lesions; leave it out."
        )
    return value


def _column(training: pd.DataFrame, name: str, field: str) -> np.ndarray:
    if name not in training:
        raise InputError(f"config.loss.{field}: the manifest has no column {name!r}.")
    cells = training[name]
    value = cells.map(_number, na_action="ignore").to_numpy(np.float64, na_value=np.nan)
    is_unknown = cells.isna() | cells.isin(["nan"])  # what is neither known nor a number is a word
    if (np.isnan(value) & ~is_unknown).any():
        raise InputError(
            f"config.loss.{field}: column {name} of the manifest has values that are not numbers."
        )
    if np.isinf(value).any():
        lesion = training.lesion_id.to_numpy()[np.isinf(value)][0]
        raise InputError(
            f"config.loss.{field}: {name} of lesion {lesion} is infinite; give a finite number."
        )
    return value


def _number(cell: Any) -> float:
    """Of a column with words, a cell is text: 5_6 is no number there, though Python reads 56."""
    return csv_reader.number(cell) if isinstance(cell, str) else float(cell)

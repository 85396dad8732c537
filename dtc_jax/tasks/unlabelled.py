"""Lesions without a label that teach the auxiliary ratings beside those with one.

They are training rows alone (`cohort.unlabelled` says in which split), and no part of what a run is
evaluated on. `config.loss.unlabelled` turns them on.
"""

from collections.abc import Iterator
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax.cohort import persons, unlabelled
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.statistics.formatting import count
from dtc_jax.tasks import inputs, ratings
from dtc_jax.tasks.sources import Data

FILE = "unlabelled.csv"  # of a run: whom it has learned from without a label
_COLUMNS = ("cohort", "split", "fold", "patient_id", "lesion_id")


def are_learned(config: ml_collections.ConfigDict) -> bool:
    """Whether any network of a run learns from them."""
    return any(map(ratings.learns_unlabelled, inputs.variants(config).values()))


def of_split(config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame) -> pd.DataFrame:
    """The lesions that one network learns from beside its training rows.

    Args:
      config: of the network.
      data: of the run.
      rows: its examples with fold and split, of one fold or several.

    Returns:
      Rows of `data.unlabelled` with fold, and split 'train'; each has one auxiliary rating at
      least.

    Raises:
      InputError: see `ratings.are_rated`.
    """
    if not ratings.learns_unlabelled(config):
        return _none(data)
    lesions = _beside(config, data, rows)
    if lesions.empty:
        return lesions
    return lesions[ratings.are_rated(config, lesions)].reset_index(drop=True)


def of_run(config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame) -> pd.DataFrame:
    """The lesions that any network of a run learns from, once a fold; see `of_split`."""
    variants = inputs.variants(config).values()
    parts = [of_split(variant, data, rows) for variant in variants]
    return pd.concat(parts, ignore_index=True).drop_duplicates(["lesion_id", "fold"])


def allowed(config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame) -> pd.DataFrame:
    """Those that a run may learn from, rated or not, with fold; none where it does not learn any.

    They and their ratings bind a run to its data.
    """
    return _beside(config, data, rows) if are_learned(config) else _none(data)


def _beside(config: ml_collections.ConfigDict, data: Data, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `data.unlabelled` with fold and split, see `cohort.unlabelled`."""
    if data.unlabelled.empty:
        return _none(data)
    rule = make_rule(config.split)
    parts = [
        unlabelled.to_learn_from(rule, data.unlabelled, of_fold).assign(fold=fold, split="train")
        for fold, of_fold in rows.groupby("fold")
    ]
    return pd.concat(parts, ignore_index=True)


def _none(data: Data) -> pd.DataFrame:
    """No row, with the columns of `_beside`."""
    return data.unlabelled[:0].reindex(columns=[*dict.fromkeys([*data.unlabelled, *_COLUMNS])])


def table(lesions: pd.DataFrame) -> pd.DataFrame:
    """unlabelled.csv: whom a run has learned from without a label.

    Args:
      lesions: of `of_run`.
    """
    return lesions[persons.with_others(_COLUMNS, lesions)]


def counts(lesions: pd.DataFrame, folds: Iterator[int]) -> list[dict[str, Any]]:
    """fold, lesions and patients for each fold.

    Args:
      lesions: of `of_run`.
      folds: numbers of all of them.
    """
    parts = {fold: lesions[lesions.fold == fold] for fold in folds}
    return [
        {"fold": int(fold), "lesions": len(part), "patients": int(part.patient_id.nunique())}
        for fold, part in parts.items()
    ]


def sentence(by_fold: list[dict[str, Any]]) -> str:
    """How many there are, of `counts`."""
    least, most = (pick(by_fold, key=lambda fold: fold["lesions"]) for pick in (min, max))
    number = count(most["lesions"], "lesion")
    if least["lesions"] != most["lesions"]:
        number = f"{least['lesions']} to {number}"
    each = " in each fold" if len(by_fold) > 1 else ""
    patients = f" of {count(most['patients'], 'patient')}" if len(by_fold) == 1 else ""
    lesions = f"{number} without a label{patients}"
    return f"the auxiliary ratings are learned from {lesions} as well, in training alone{each}"

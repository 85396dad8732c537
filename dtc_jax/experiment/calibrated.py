"""The temperature of a run's networks: fitted on validation, kept in metrics.json.

It is divided into the weights of the last layers, so that whatever computes a logit from a network,
be it evaluation, prediction, a heat map or an exported graph, gives the calibrated one. Checkpoints
keep the weights as they were trained, and `config.init_from` starts from those.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.experiment import folds
from dtc_jax.statistics import temperature
from dtc_jax.statistics.temperature import Temperature
from dtc_jax.tasks import registry
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import Member

METRICS, FIELD = "metrics.json", "temperature"
_NONE, _VALIDATION = "none", "validation"


def is_on(config: ml_collections.ConfigDict) -> bool:
    """Whether the run has a temperature."""
    return bool(config.get(FIELD, _NONE) != _NONE)  # earlier runs have no such field


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UsageError if config.temperature has an impossible value."""
    value = config.get(FIELD, _NONE)
    if value not in (_NONE, _VALIDATION):
        raise unknown_choice("config.temperature", value, (_NONE, _VALIDATION))
    definition = registry.of(config)
    if is_on(config) and definition.tempered is None:
        raise UsageError(
            f"config.temperature is {value!r}, but {definition.words.noun} has no score of a "
            "lesion to calibrate; set it to 'none'."
        )


def predict(member: Member, data: Data, split: pd.DataFrame) -> tuple[Member, pd.DataFrame]:
    """`folds.predict`, by the networks at the temperature that is fitted first, if any.

    Args:
      member: as it was trained.
      data: the examples.
      split: their rows, with split, label and position.

    Returns:
      The networks that were used, and the rows with their outputs.
    """
    if is_on(member.config):
        validated = split[(split.split == "validation") & split.label.notna()]
        # One class says nothing, and there may be no row to predict.
        is_enough = validated.label.nunique() == 2
        scores = folds.predict(member, data, validated).score if is_enough else validated.label
        member = at(member, temperature.fit(validated.label.to_numpy(), scores.to_numpy(float)))
    return member, folds.predict(member, data, split)


def at(member: Member, found: Temperature) -> Member:
    """The networks with their logits divided by a temperature; heat maps are, too.

    Raises:
      ValueError: they have one already.
    """
    tempered = registry.of(member.config).tempered
    if member.temperature is not None or tempered is None:
        raise ValueError("these networks have a temperature already, or cannot have one.")
    params = tuple(tempered(one.params, found.value) for one in member.networks)
    return dataclasses.replace(
        member, params=params if len(params) > 1 else params[0], temperature=found
    )


def read(workdir: storage.PathLike, members: Sequence[Member]) -> tuple[Member, ...]:
    """The networks of a run, one a fold, at the temperatures that `predict` found for it.

    Raises:
      InputError: the run was not evaluated yet.
    """
    if not is_on(members[0].config):
        return tuple(members)
    path = pathlib.Path(workdir) / METRICS
    try:
        stored = [
            Temperature(
                float(each["value"]),
                int(each["n"]),
                str(each["note"]),
                *(float(each[end]) for end in ("low", "high") if end in each),  # or runs of before
            )
            for each in storage.read_json(path)[FIELD]
        ]
        return tuple(at(*pair) for pair in zip(members, stored, strict=True))
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: does not say the temperature of the networks; finish the training, or run "
            f"--mode=evaluate --workdir={workdir}."
        ) from error


def figures(members: Sequence[Member]) -> list[dict[str, Any]]:
    """The temperature of each fold as JSON values; empty where there is none."""
    return [dataclasses.asdict(one.temperature) for one in members if one.temperature]


def notes(members: Sequence[Member]) -> list[str]:
    """What a reader of the scores has to know: a sentence, or none."""
    found = [one.temperature for one in members if one.temperature]
    if not found:
        return []
    each = [
        f"{one.value:.2f} ({one.low:.2f}–{one.high:.2f}, n {one.n}{one.note and '; '}{one.note})"
        for one in found
    ]
    if len(each) > 1:
        each = [f"fold {number}: {text}" for number, text in enumerate(each)]
    return [f"temperature that divides the logits, fitted on validation: {', '.join(each)}"]

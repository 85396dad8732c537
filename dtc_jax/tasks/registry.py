"""The tasks by the name that `config.task` gives."""

import ml_collections

from dtc_jax.errors import unknown_choice
from dtc_jax.tasks import candidates, classification, segmentation
from dtc_jax.tasks.definition import Definition

_TASKS: dict[str, Definition] = {}


def register(name: str, definition: Definition) -> None:
    """Makes `config.task = name` mean `definition`."""
    _TASKS[name] = definition


def get(name: str) -> Definition:
    """The task of that name.

    Raises:
      UsageError: there is none.
    """
    if name not in _TASKS:
        raise unknown_choice("config.task", name, _TASKS)
    return _TASKS[name]


def of(config: ml_collections.ConfigDict) -> Definition:
    """The task of `config.task`.

    Raises:
      UsageError: there is none.
    """
    return get(config.task)


register("classification", classification.DEFINITION)
register("segmentation", segmentation.DEFINITION)
register("candidates", candidates.DEFINITION)

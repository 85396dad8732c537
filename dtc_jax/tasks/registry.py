"""The tasks by the name that `config.task` gives."""

from types import ModuleType

import ml_collections

from dtc_jax.errors import unknown_choice
from dtc_jax.tasks import classification, segmentation

_TASKS = {"classification": classification, "segmentation": segmentation}


def of(config: ml_collections.ConfigDict) -> ModuleType:
    """The module of the task. Each has

    make_task, make_network, make_preprocess, make_predict_preprocess and columns, with the same
    arguments; NETWORK, the network's class; MONITORS, the metrics that can choose a checkpoint.

    Raises:
      UsageError: there is no such task.
    """
    if config.task not in _TASKS:
        raise unknown_choice("config.task", config.task, _TASKS)
    return _TASKS[config.task]

"""What can be found wrong with a configuration before any data is touched."""

import functools
import typing

import jax
import ml_collections
import numpy as np

from dtc_jax.errors import UsageError, unknown_choice
from dtc_jax.models.senet import SENet
from dtc_jax.runs import fold
from dtc_jax.statistics import threshold
from dtc_jax.tasks import classification
from dtc_jax.training import optimizer, parallel

_MONITORS = ("auc", "loss", "accuracy")
_AT_LEAST_ONE = (
    *("train.epochs", "train.batch_size", "train.evaluate_every_epochs", "train.log_every_steps"),
    *("train.checkpoint_every_epochs", "predict.batch_size"),
    *("model.width", "model.stages", "model.stem_stride", "model.se_ratio"),
)
_TRIPLES = (  # z, y, x
    *("data.size_mm", "preprocess.crop_mm", "model.pool_window"),
    *("augment.flip", "augment.rotate_deg", "augment.visible_extent"),
)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses a configuration that would fail only after its data are generated and built.

    Raises:
      UsageError: names the field.
    """
    for name, variant in fold.variants(config).items():
        try:
            _check(variant)
        except UsageError as error:
            if not name:
                raise
            raise UsageError(f"config.candidates.{name}: {error}") from error


def _check(config: ml_collections.ConfigDict) -> None:
    for field in _AT_LEAST_ONE:
        if _value(config, field) < 1:
            raise UsageError(f"config.{field} is {_value(config, field)}; it must be at least 1.")
    for field in _TRIPLES:
        if len(_value(config, field)) != 3:
            raise UsageError(f"config.{field} is {_value(config, field)}; give it for z, y and x.")
    if config.train.monitor not in _MONITORS:
        raise unknown_choice("config.train.monitor", config.train.monitor, _MONITORS)
    for field, hint in typing.get_type_hints(SENet).items():
        choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        if choices and config.model[field] not in choices:
            raise unknown_choice(f"config.model.{field}", config.model[field], choices)
    threshold.parse(config.threshold)
    optimizer.make_optimizer(config.optimizer, total_steps=1)
    devices = len(parallel.make(config.parallel).devices)
    for field in ("train.batch_size", "predict.batch_size"):
        if _value(config, field) % devices:
            raise UsageError(
                f"config.{field} is {_value(config, field)}, which the {devices} devices cannot "
                f"share evenly; choose a multiple of {devices}."
            )
    try:
        task = classification.make_task(config, np.array([0.0, 1.0]))
        jax.eval_shape(task.init, jax.random.key(0))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"config.preprocess, config.model: {text[:300]}") from error


def _value(config: ml_collections.ConfigDict, field: str) -> typing.Any:
    return functools.reduce(lambda inner, key: inner[key], field.split("."), config)

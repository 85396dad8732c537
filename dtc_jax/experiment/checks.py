"""What can be found wrong with a configuration before any data is touched."""

import functools
import math
import typing

import jax
import ml_collections

from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import UsageError, one_line, unknown_choice
from dtc_jax.experiment import calibrated, hard_negatives, learned
from dtc_jax.tasks import fields as fields_lib
from dtc_jax.tasks import inputs, registry
from dtc_jax.training import augment, hosts, optimizer, parallel, resident, tracker

_AT_LEAST_ONE = (
    *("train.batch_size", "train.evaluate_every_epochs", "train.checkpoint_every_epochs"),
    "predict.batch_size",
)
_RANGES = (  # field, least, most
    *((field, 0, 10**9) for field in ("seed", "selection.seed", "data.phantom.seed")),
    ("optimizer.learning_rate", 0, math.inf),
    ("optimizer.warmup_fraction", 0, 1),
    ("optimizer.weight_decay", 0, math.inf),
    ("optimizer.clip_norm", 0, math.inf),
    ("optimizer.momentum", 0, 1),
    ("loss.label_smoothing", 0, 1),
    ("train.ema_decay", 0, 1),
    ("train.patience", 0, math.inf),
)
_OF_ALL_CANDIDATES = (  # read before there are candidates, or after one is chosen
    *("candidates", "combine", "data", "init_from", "report", "selection", "split", "task"),
    *("temperature", "threshold", "write_report"),
)
# So that they are chosen by the same voxels, and those of all folds find lesions by one rule.
_OF_ALL_SEGMENTERS = ("predict.crop_mm", "predict.threshold", *fields_lib.OF_SCANS)
_MAY_BE_NONE = ("measures",)  # of config.model
_TRIPLES = (  # z, y, x
    *("data.size_mm", "preprocess.crop_mm", "predict.crop_mm"),
    *("augment.flip", "augment.rotate_deg", "augment.visible_extent"),
)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses a configuration that would fail only after its data are generated and built.

    Raises:
      UsageError: names the field.
    """
    _check_filled(config, "config")
    registry.of(config)
    if not make_rule(config.split).has_validation:
        _check_without_validation(config)
    combine = config.get("combine", "best")
    if combine not in ("best", "mean"):
        raise unknown_choice("config.combine", combine, ("best", "mean"))
    calibrated.check(config)
    variants = inputs.variants(config)
    _check_candidates(config)
    for name, variant in variants.items():
        try:
            _check_filled(variant, "config")
            _check(variant)
        except UsageError as error:
            if not name:
                raise
            raise UsageError(f"config.candidates.{name}: {error}") from error


def _check_filled(fields: ml_collections.ConfigDict, name: str) -> None:
    """Refuses None, which ml_collections accepts in place of any value, NaN and infinity."""
    for field, value in fields.items():
        if isinstance(value, ml_collections.ConfigDict):
            _check_filled(value, f"{name}.{field}")
        elif value is None:
            raise UsageError(f"{name}.{field} is None; give it a value.")
        elif not _is_finite(value):
            raise UsageError(f"{name}.{field} is {value}; give finite numbers.")


def _is_finite(value: typing.Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_candidates(config: ml_collections.ConfigDict) -> None:
    """Refuses fields in which candidates cannot differ, and which would be ignored in one."""
    segments = registry.of(config).finds_lesions
    # The validation loss of a classifier is cross-entropy, whatever it is trained with.
    by_loss = segments and config.train.monitor == "loss" and not inputs.combines(config)
    for name, changed in config.candidates.to_dict().items():
        for field, _ in fields_lib.flat(changed):
            if by_loss and field.split(".")[0] == "loss":
                raise UsageError(
                    f"config.candidates.{name}: {field} is of the loss by which a candidate is "
                    "chosen, so it is the same for all; set config.train.monitor to 'dice', or "
                    f"config.{field}."
                )
            of_all = segments and field in _OF_ALL_SEGMENTERS
            if of_all or field.split(".")[0] in _OF_ALL_CANDIDATES:
                raise UsageError(
                    f"config.candidates.{name}: {field} is the same for all candidates; set "
                    f"config.{field}."
                )


def _check_without_validation(config: ml_collections.ConfigDict) -> None:
    """Refuses every choice that needs a validation split."""
    rule = config.get("threshold", "fixed:0.5")
    for field, is_chosen, advice in (
        ("train.patience", config.train.patience > 0, "set it to 0"),
        ("candidates", bool(config.candidates), "train one network alone"),
        ("threshold", not str(rule).startswith("fixed:"), "set it to 'fixed:0.5'"),
        (calibrated.FIELD, calibrated.is_on(config), "set it to 'none'"),
    ):
        if is_chosen:
            raise UsageError(
                f"config.{field} needs a validation split, and config.split.kind 'two_part' has "
                f"none; {advice}."
            )


def _check(config: ml_collections.ConfigDict) -> None:
    for field in _AT_LEAST_ONE:
        if _value(config, field) < 1:
            raise UsageError(f"config.{field} is {_value(config, field)}; it must be at least 1.")
    if config.train.epochs < (0 if config.get("init_from", "") else 1):
        raise UsageError(
            f"config.train.epochs is {config.train.epochs}; it must be at least 1, or 0 where "
            "config.init_from gives the weights."
        )
    _check_sizes(config)
    _check_ranges(config)
    if config.train.log_every_steps < 0:
        raise UsageError("config.train.log_every_steps must be at least 1, or 0 for once an epoch.")
    if config.train.get("profile_steps", 0) < 0:
        raise UsageError("config.train.profile_steps must be at least 1, or 0 for no trace.")
    tracker.check(config.train.get("tracker", ""))
    definition = registry.of(config)
    if config.train.monitor not in definition.monitors:
        raise unknown_choice("config.train.monitor", config.train.monitor, definition.monitors)
    _check_keep(config)
    _check_model(config, typing.get_type_hints(definition.network))
    definition.check(config)
    _check_ensemble(config)
    _check_on_device(config)
    hard_negatives.check(config)
    augment.check(config.augment)
    optimizer.make_optimizer(config.optimizer, total_steps=1)
    _check_devices(config)
    try:
        learned.shapes(config)
    except (OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"config.preprocess, config.model: {one_line(error, 300)}") from error


def _check_sizes(config: ml_collections.ConfigDict) -> None:
    """Refuses what is not of three axes, and a crop that the records do not have."""
    given = dict(fields_lib.flat(config.to_dict()))
    for field in (one for one in _TRIPLES if one in given):  # predict.crop_mm is a segmenter's
        value = given[field]
        if len(value) != 3 or not all(isinstance(number, (int, float)) for number in value):
            raise UsageError(f"config.{field} is {value}; give numbers for z, y and x.")
    stored = config.data.size_mm
    for field in ("preprocess.crop_mm", "predict.crop_mm"):
        seen = given.get(field, ())
        if any(side > most for side, most in zip(seen, stored, strict=False)):
            raise UsageError(
                f"config.{field} is {seen}, larger than the stored crop, config.data.size_mm of "
                f"{stored}; enlarge config.data.size_mm."
            )


def _check_devices(config: ml_collections.ConfigDict) -> None:
    """Refuses batches that cannot be divided evenly over the devices."""
    devices = len(parallel.make(config.parallel).devices)
    if devices != jax.local_device_count() * hosts.count():
        raise UsageError(
            f"this process has {jax.local_device_count()} of {devices} devices; give each of the "
            f"{hosts.count()} processes the same number."
        )
    for field in ("train.batch_size", "predict.batch_size"):
        if _value(config, field) % devices:
            raise UsageError(
                f"config.{field} is {_value(config, field)}, which cannot be divided "
                f"evenly over the {devices} devices; choose a multiple of {devices}."
            )
    parts = config.train.get("accumulate", 1)
    if parts < 1:
        raise UsageError(f"config.train.accumulate is {parts}; it must be at least 1.")
    if config.train.batch_size % (parts * devices):
        raise UsageError(
            f"config.train.batch_size is {config.train.batch_size}; it must be a multiple of "
            f"{parts * devices}, which is config.train.accumulate ({parts}) times the number of "
            f"devices ({devices})."
        )


def _check_ranges(config: ml_collections.ConfigDict) -> None:
    """Refuses numbers with which a training would run and learn nothing."""
    fields = dict(fields_lib.flat(config.to_dict()))
    for field, least, most in _RANGES:
        if field in fields and not least <= fields[field] <= most:
            allowed = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise UsageError(f"config.{field} is {fields[field]}; it must be {allowed}.")


def _check_on_device(config: ml_collections.ConfigDict) -> None:
    on_device = config.data.get("on_device", resident.AUTO)
    if on_device not in resident.CHOICES:
        raise unknown_choice("config.data.on_device", on_device, resident.CHOICES)
    if on_device == resident.ALWAYS and hard_negatives.rounds(config):
        raise UsageError(
            "config.data.on_device is 'always', but config.train.hard_negatives replaces rows of "
            "the batches on the host; set it to 'auto', or hard_negatives.rounds to 0."
        )


def _check_keep(config: ml_collections.ConfigDict) -> None:
    keep = config.train.get("keep", "best")
    if keep not in ("best", "last"):
        raise unknown_choice("config.train.keep", keep, ("best", "last"))
    if keep == "last" and config.train.patience > 0:
        raise UsageError(
            "config.train.patience stops when no epoch is better than the best one, but with "
            "config.train.keep 'last' each epoch counts as better; set train.patience to 0."
        )


def _check_ensemble(config: ml_collections.ConfigDict) -> None:
    for field in ("ensemble", "snapshots"):
        count = config.train.get(field, 1)
        if count < 1:
            raise UsageError(f"config.train.{field} is {count}; it must be at least 1.")
    count = inputs.snapshots(config)
    if count > 1 and (config.train.epochs % count or not config.train.epochs):
        raise UsageError(
            f"config.train.epochs is {config.train.epochs}; the {count} snapshots of "
            f"config.train.snapshots share the epochs equally, so give a multiple of {count}."
        )
    if count > 1 and hard_negatives.rounds(config):
        raise UsageError(
            "config.train.snapshots must be 1 where config.train.hard_negatives.rounds is not 0: "
            "each snapshot would collect its own."
        )


def _check_model(config: ml_collections.ConfigDict, hints: dict[str, typing.Any]) -> None:
    """Holds the fields of `config.model` against the types of the network's."""
    for field, hint in hints.items():
        if field not in config.model:  # a module's own, such as its name
            continue
        value = config.model[field]
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Literal and value not in args:
            raise unknown_choice(f"config.model.{field}", value, args)
        if origin is tuple and args[-1] is not Ellipsis and len(value) != len(args):
            raise UsageError(f"config.model.{field} is {value}; give it for z, y and x.")
        numbers = value if origin is tuple else [value] if hint is int else []
        if any(type(number) is not int for number in numbers):
            raise UsageError(f"config.model.{field} is {value}; give whole numbers.")
        least = 0 if field in _MAY_BE_NONE else 1
        if any(number < least for number in numbers):
            raise UsageError(f"config.model.{field} is {value}; it must be at least {least}.")


def _value(config: ml_collections.ConfigDict, field: str) -> typing.Any:
    return functools.reduce(lambda inner, key: inner[key], field.split("."), config)

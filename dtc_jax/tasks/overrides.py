"""A configuration with some of its fields replaced, as candidates and the trials of a sweep are."""

import re
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from dtc_jax.errors import UsageError, one_line

# Their keys are the user's, so they are replaced as a whole: {} means none.
_OF_USERS_KEYS = ("candidates", "loss.auxiliary")


def overridden(
    config: ml_collections.ConfigDict,
    fields: Mapping[str, Any] | ml_collections.ConfigDict,
    what: str,
) -> ml_collections.ConfigDict:
    """A copy of `config` with other `fields`.

    Args:
      config: locked, so that no field can be added.
      fields: nested as in the configuration, or by their full names, `model.width`.
      what: whose fields they are, for the message.

    Raises:
      UsageError: the configuration does not have such a field, or has one of another type; or
        `fields` is something else than values by names.
    """
    if not isinstance(fields, (Mapping, ml_collections.ConfigDict)):
        raise UsageError(f"{what} is {fields!r}; give values by the names of their fields.")
    changed = config.copy_and_resolve_references()
    for name, value in fields.items():
        if not isinstance(name, str):
            raise UsageError(f"{what}: {name!r} cannot be the name of a field; give text.")
        try:
            _update(changed, name, value)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # ml_collections lists all fields before its suggestion.
            text = re.sub(r'Other fields present: ".*"(\n|$)', "", str(error.args[0]), flags=re.S)
            raise UsageError(f"{what} does not fit the config: {one_line(text)}") from error
    return changed


def _update(config: ml_collections.ConfigDict, name: str, value: Any) -> None:
    """Sets the field of that full name, or those of a section."""
    is_mapping = isinstance(value, (Mapping, ml_collections.ConfigDict))
    section, _, field = name.rpartition(".")
    if name in _OF_USERS_KEYS and is_mapping:
        inner = config[section] if section else config
        with inner.unlocked():
            inner[field] = ml_collections.ConfigDict(_plain(dict(value)))
    elif is_mapping and value:
        for key, single in value.items():
            _update(config, f"{name}.{key}", single)
    else:
        value = _plain(value)
        if not is_mapping and isinstance(_field(config, name), ml_collections.ConfigDict):
            raise ValueError(f"{name} is {value!r}; give values by the names of its fields.")
        for part in reversed(name.split(".")):
            value = {part: value}
        config.update(value)


def _field(config: ml_collections.ConfigDict, name: str) -> Any:
    """The value of a field by its full name; None if there is none."""
    for part in name.split("."):
        if not isinstance(config, ml_collections.ConfigDict):
            return None
        config = config.get(part)
    return config


def _plain(value: Any) -> Any:
    """Numbers of NumPy as Python's: they are to be written as JSON, and as a literal."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value

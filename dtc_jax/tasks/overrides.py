"""A configuration with some of its fields replaced, as candidates and the trials of a sweep are."""

import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from dtc_jax.errors import UsageError


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
        for part in reversed(name.split(".")):
            value = {part: value}
        try:
            changed.update(value)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # ml_collections lists all fields before its suggestion.
            text = re.sub(r'Other fields present: ".*"(\n|$)', "", str(error.args[0]), flags=re.S)
            raise UsageError(f"{what} does not fit the config: {' '.join(text.split())}") from error
    return changed

"""Reads a sweep file, and holds what it returns against the kinds that `plan` expects.

A sweep file is Python that users write, so any value may be of any kind.
"""

import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

from dtc_jax import storage
from dtc_jax.errors import UsageError, unknown_choice

_KEYS = ("variants", "base", "seeds", "folds", "common", "margin")
_SEE = "see docs/sweeps.md."


def read(path: storage.PathLike) -> dict[str, Any]:
    """What the file's `get_sweep()` returns; names of variants and of fields are not checked.

    Raises:
      UsageError: the file is none, or a key is unknown or has a value of another kind; names it.
    """
    if not pathlib.Path(path).is_file():
        raise UsageError(f"--sweep={path}: no such file; give one of those in configs/sweeps/.")
    # A file that calls sys.exit() raises SystemExit, which is no Exception.
    try:
        get_sweep = runpy.run_path(str(path)).get("get_sweep")
    except (Exception, SystemExit) as error:  # whatever the file raises
        raise UsageError(f"{path}: cannot be loaded: {_named(error)}") from error
    if not callable(get_sweep):
        raise UsageError(f"{path}: has no function get_sweep(); {_SEE}")
    try:
        sweep = get_sweep()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path}: get_sweep() fails: {_named(error)}") from error
    if not isinstance(sweep, Mapping):
        raise UsageError(f"{path}: get_sweep() must return a dict; {_SEE}")
    for key in sweep:
        if key not in _KEYS:
            raise unknown_choice(f"{path}: a key", key, _KEYS)
    _check(sweep, path)
    return dict(sweep)


def _check(sweep: Mapping[str, Any], path: storage.PathLike) -> None:
    """Checks the kind of every value but the margin, and of the fields' names."""
    if not sweep.get("variants"):
        raise UsageError(f"{path}: names no variants; {_SEE}")
    _by_name(sweep["variants"], f"{path}: variants", "the name of a variant")
    for name, fields in sweep["variants"].items():
        what = f"{path}: variant {name}"
        _by_name(fields, what, "the name of a field")
        if "grid" in fields:
            _check_grid(fields["grid"], f"{what}: grid")
            for field in {*fields} & {*fields["grid"]}:
                raise UsageError(f"{what}: {field} is in the grid too; delete one of them.")
    _by_name(sweep.get("common", {}), f"{path}: common", "the name of a field")
    if "seed" in sweep.get("common", {}):
        raise UsageError(f"{path}: common: give seeds by the key 'seeds'.")
    if not isinstance(sweep.get("base", ""), str):
        raise UsageError(f"{path}: base is {sweep['base']!r}; give the name of a variant.")
    if "seeds" in sweep:
        seeds = sweep["seeds"]
        whole = _is_list(seeds) and all(map(_is_whole, seeds))
        if not whole or not len(seeds) or len(set(seeds)) < len(seeds):
            raise UsageError(f"{path}: seeds is {seeds!r}; give a list of different whole numbers.")
    if "folds" in sweep and not _is_whole(sweep["folds"]):
        raise UsageError(f"{path}: folds is {sweep['folds']!r}; give a whole number.")


def _check_grid(grid: Any, what: str) -> None:
    _by_name(grid, what, "the name of a field")
    if not grid:
        raise UsageError(f"{what} is empty; give it a field and the values to try.")
    for field, values in grid.items():
        if not _is_list(values) or not len(values):
            raise UsageError(f"{what}, {field} is {values!r}; give a list of the values to try.")


def _by_name(value: Any, what: str, meaning: str) -> None:
    """Refuses what is not a dict whose keys are text."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} is {value!r}; it must be a dict, {_SEE}")
    for key in value:
        if not isinstance(key, str):
            raise UsageError(f"{what}: {key!r} cannot be {meaning}; give text.")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _named(error: BaseException) -> str:
    """The kind of an error and what it says, as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())

"""What a sweep tries: the sweep file, checked and spelled out as trials.

A sweep file is Python with a function `get_sweep()` that returns plain data:

| key | |
|---|---|
| variants | name -> fields in which it differs from the configuration, by their full names; or {'grid': name of a field -> its values}, a variant for each combination |
| base | name of the variant that the others are compared with |
| seeds | values of config.seed; each variant is trained with each. Default: that of the configuration |
| folds | value of config.split.folds. Default: that of the configuration |
| common | fields that differ from the configuration in every variant |
| margin | of non-inferiority, in AUC or Dice. Default: config.report.margin, or 0.05 |
"""  # noqa: E501

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_collections

from dtc_jax import storage
from dtc_jax.errors import UsageError, unknown_choice
from dtc_jax.experiment import checks
from dtc_jax.sweep import sweep_file
from dtc_jax.tasks import registry
from dtc_jax.tasks.overrides import overridden

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MARGIN = 0.05
# All variants are tested on the same examples, or they could not be compared in pairs. The size of
# a stored crop changes no test; what else is in `data` says which examples there are.
_SHARED = ("task", "split", "selection", "data")
_OWN = ("data.size_mm",)
# And a segmenter's on the same voxels of a patch.
_OF_PATCHES = (("predict", "crop_mm"), ("preprocess", "spacing_mm"), ("preprocess", "antialias"))
_OF_KEYS = {"seeds": "seed", "folds": "split.folds"}  # the fields that they set


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
      variant: its name.
      seed: config.seed.
      config: the whole configuration.
    """

    variant: str
    seed: int
    config: ml_collections.ConfigDict

    @property
    def name(self) -> str:
        """Names its folder, and the run in its tables."""
        return f"{self.variant}-seed{self.seed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep that has passed all checks.

    Attributes:
      base: name of the variant that the others are compared with.
      margin: of non-inferiority.
      variants: name -> its fields by their full names, in the order of the sweep file.
      trials: in the same order.
    """

    base: str
    margin: float
    variants: Mapping[str, Mapping[str, Any]]
    trials: tuple[Trial, ...]

    def of_variant(self, name: str) -> tuple[Trial, ...]:
        """The trials of a variant, one for each seed."""
        return tuple(trial for trial in self.trials if trial.variant == name)


def make(
    config: ml_collections.ConfigDict, path: storage.PathLike, given: Iterable[str] = ()
) -> Plan:
    """The sweep of the file `path` over `config`; nothing is written.

    Args:
      config: that the variants start from.
      path: of the sweep file.
      given: full names of the fields that the command line sets.

    Raises:
      UsageError: the file is none, or a key, name, field or value in it is wrong, or it sets for
        all trials what the command line sets too; names it.
    """
    sweep = sweep_file.read(path)
    _check_given(given, sweep, path)
    variants = dict(_variants(sweep["variants"], path))
    base = sweep.get("base")
    if base not in variants:
        raise unknown_choice(f"{path}: base", base, variants)
    common = dict(sweep.get("common", {}))
    if "write_report" in config:
        common["write_report"] = False  # the sweep has a page of its own
    if "folds" in sweep:
        common["split.folds"] = sweep["folds"]
    shared = overridden(config, common, f"{path}: common, folds")
    margin = sweep.get("margin", config.get("report", {}).get("margin", _MARGIN))
    if not isinstance(margin, float) or not 0 < margin < 1:
        raise UsageError(f"{path}: margin is {margin!r}; it must be between 0 and 1.")
    seeds = sweep.get("seeds", (config.seed,))
    trials = []
    for name, fields in variants.items():
        what = f"{path}: variant {name}"
        changed = overridden(shared, fields, what)
        try:
            checks.check(changed)
        except UsageError as error:
            raise UsageError(f"{what}: {error}") from error
        trials += [Trial(name, seed, overridden(changed, {"seed": seed}, what)) for seed in seeds]
    plan = Plan(base, margin, variants, tuple(trials))
    if registry.of(config).finds_lesions:
        _check_patches(plan, path)
    return plan


def _check_patches(plan: Plan, path: storage.PathLike) -> None:
    """Refuses a segmenter that would be tested on other voxels than the base."""
    first = plan.of_variant(plan.base)[0].config
    for trial in plan.trials:
        for section, field in _OF_PATCHES:
            if trial.config[section][field] != first[section][field]:
                raise UsageError(
                    f"{path}: variant {trial.variant}: with another {section}.{field} it would be "
                    "tested on other voxels than the base. Set it for all variants, under 'common'."
                )


def _check_given(given: Iterable[str], sweep: Mapping[str, Any], path: storage.PathLike) -> None:
    """Refuses a field of the command line that would have no effect in any trial."""
    keys = dict.fromkeys(sweep.get("common", {}), "common")
    keys |= {field: key for key, field in _OF_KEYS.items() if key in sweep}
    for name in given:
        for field, key in keys.items():
            if f"{name}.".startswith(f"{field}."):
                raise UsageError(
                    f"--config.{name} would have no effect: {path} sets it for all trials, by "
                    f"{key!r}. Omit one of the two."
                )


def _variants(
    variants: Mapping[str, Any], path: storage.PathLike
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The name and the fields of each variant, those of grids too.

    Raises:
      UsageError: a name cannot name a folder or occurs twice, or a field may not differ.
    """
    named = set[str]()
    for name, fields in variants.items():
        for full, single in _of_grid(name, fields) if "grid" in fields else [(name, fields)]:
            if not _NAME.fullmatch(full):
                raise UsageError(
                    f"{path}: variant {full!r}: use letters, digits, '-', '_' and '.' alone."
                )
            if full.lower() in named:  # some disks do not tell the two apart
                raise UsageError(f"{path}: there are two variants {full!r}; rename one.")
            named.add(full.lower())
            for field in single:
                if field == "seed":
                    raise UsageError(f"{path}: variant {full}: give seeds by the key 'seeds'.")
                if field.split(".")[0] == "report":
                    raise UsageError(
                        f"{path}: variant {full}: {field} changes a report and not what is "
                        "trained. Set it for all variants, under 'common'."
                    )
                if field.split(".")[0] in _SHARED and field not in _OWN:
                    raise UsageError(
                        f"{path}: variant {full}: with another {field} it would be tested on other "
                        "examples than the base. Set it for all variants, under 'common'."
                    )
            yield full, single


def _of_grid(name: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    grid = fields["grid"]
    for values in itertools.product(*grid.values()):
        single = {field: value for field, value in fields.items() if field != "grid"}
        yield "-".join([name, *map(_short, values)]), single | dict(zip(grid, values, strict=True))


def _short(value: Any) -> str:
    """A value as a part of a name: 16, 1x2x2, on."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return "x".join(map(_short, value))
    return str(value)

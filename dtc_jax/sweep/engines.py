"""The engines by the name that --engine gives."""

import functools
import importlib
import importlib.util

from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.sweep import local
from dtc_jax.sweep.jobs import Engine, Resources

# Name -> its module, and the library and the extra that it needs.
_OF_EXTRAS = {"ray": ("on_ray", "ray", "ray"), "slurm": ("on_slurm", "submitit", "slurm")}
ENGINES = ("local", *_OF_EXTRAS)


def get(name: str, resources: Resources | None = None) -> Engine:
    """The engine of that name, which gives `resources` to each trial.

    Raises:
      UsageError: there is none, or it does not give such resources.
      InputError: its library is not installed; names the extra.
    """
    resources = resources or Resources()
    if name not in ENGINES:
        raise unknown_choice("--engine", name, ENGINES)
    for flag, value, fits in (
        ("--share", resources.share != 1.0, ("ray",)),
        ("--ray_address", resources.ray_address, ("ray",)),
        ("--cores", resources.cores, ("ray", "slurm")),
        ("--slurm", resources.slurm, ("slurm",)),
    ):
        if value and name not in fits:
            raise UsageError(f"{flag} is for --engine={' or '.join(fits)}.")
    if name == "local":
        return local.run
    module, library, extra = _OF_EXTRAS[name]
    if importlib.util.find_spec(library) is None:
        raise InputError(
            f"--engine={name} needs {library}, which is not installed; install the extra: "
            f"pip install 'dtc-jax[{extra}]'."
        )
    engine = importlib.import_module(f"dtc_jax.sweep.{module}")
    return functools.partial(engine.run, resources=resources)

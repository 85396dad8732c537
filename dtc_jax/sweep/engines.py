"""The engines by the name that --engine gives."""

from dtc_jax.errors import unknown_choice
from dtc_jax.sweep import local
from dtc_jax.sweep.jobs import Engine

ENGINES: dict[str, Engine] = {"local": local.run}


def get(name: str) -> Engine:
    """The engine of that name.

    Raises:
      UsageError: there is none.
    """
    if name not in ENGINES:
        raise unknown_choice("--engine", name, ENGINES)
    return ENGINES[name]

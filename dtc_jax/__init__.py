"""dtc-jax: find lung metastases of thyroid cancer on CT and tell which are RAI-refractory.

The names below are the public interface, `dtc_jax.predict` and so on. What gives one is imported
when it is first used, since JAX takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

import dtc_jax.errors  # noqa: F401  what a caller catches is there from the start

if TYPE_CHECKING:
    from dtc_jax.api import audit_claims as audit_claims
    from dtc_jax.api import find_lungs as find_lungs
    from dtc_jax.api import from_array as from_array
    from dtc_jax.api import get_config as get_config
    from dtc_jax.api import load_predictors as load_predictors
    from dtc_jax.api import predict as predict
    from dtc_jax.api import read_scan as read_scan
    from dtc_jax.api import train as train
    from dtc_jax.api import write_report as write_report
    from dtc_jax.prediction.loaded import load as load

_PUBLIC = {  # name -> the module that has it
    "audit_claims": "dtc_jax.api",
    "find_lungs": "dtc_jax.api",
    "from_array": "dtc_jax.api",
    "get_config": "dtc_jax.api",
    "load": "dtc_jax.prediction.loaded",
    "load_predictors": "dtc_jax.api",
    "predict": "dtc_jax.api",
    "read_scan": "dtc_jax.api",
    "train": "dtc_jax.api",
    "write_report": "dtc_jax.api",
}


def __getattr__(name: str) -> Any:
    """A name of the public interface."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dtc_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """What the module has, and the public interface."""
    return sorted({*globals(), *_PUBLIC})

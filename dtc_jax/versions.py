"""The versions of Python and of the libraries that determine the numbers of a run."""

import contextlib
import importlib.metadata
import platform

_LIBRARIES = (
    *("dtc-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "pandas", "scikit-learn"),
    *("nibabel", "pydicom", "highdicom", "SimpleITK"),
)


def installed() -> dict[str, str]:
    """Versions by name, `python` first; a library that is not installed is absent."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions

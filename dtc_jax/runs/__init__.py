"""One function a mode of `launch.py`; the only room that sees all others."""

from dtc_jax.runs.evaluate import evaluate
from dtc_jax.runs.train import train

__all__ = ["evaluate", "train"]

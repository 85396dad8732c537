"""One function a mode of `launch.py`; the only room that sees all others."""

from dtc_jax.runs.audit import audit
from dtc_jax.runs.evaluate import evaluate
from dtc_jax.runs.leakage import leakage
from dtc_jax.runs.pipeline import pipeline
from dtc_jax.runs.predict import predict, review
from dtc_jax.runs.report import report
from dtc_jax.runs.train import train

__all__ = ["audit", "evaluate", "leakage", "pipeline", "predict", "report", "review", "train"]

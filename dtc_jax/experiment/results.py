"""What a run leaves in its folder: tables, metrics.json, figures and the study's report."""

import pathlib

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.experiment import artefacts, report
from dtc_jax.report import cohort_plots, drawing, outlines
from dtc_jax.tasks.definition import Evaluation
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import TrainedNetwork


def evaluate(
    config: ml_collections.ConfigDict,
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    folder: pathlib.Path,
) -> Evaluation:
    """Writes and prints the figures of a run, see `Definition.evaluate`.

    Args:
      config: of the run.
      data: its examples.
      network: with a member a fold.
      rows: of `folds.predict`, all folds.
      folder: of the run.
    """
    evaluation = network.task.evaluate(config, data, network, rows, folder.resolve().name)
    for name, table in evaluation.tables.items():
        storage.write_table(folder / name, table)
    storage.write_json(folder / "metrics.json", evaluation.metrics)
    _draw(evaluation, folder)
    print(evaluation.summary)
    if evaluation.report_of and config.get("write_report", True):
        report.write([folder / evaluation.report_of], folder / "report")
    return evaluation


def _draw(evaluation: Evaluation, folder: pathlib.Path) -> None:
    """Writes curve_METRIC and slices into `folder`/figures, each as PNG and SVG."""
    curves = artefacts.curves(folder) if evaluation.curves else None
    with drawing.style():
        for metric in evaluation.curves if curves is not None else ():
            path = folder / "figures" / f"curve_{metric}"
            drawing.save(cohort_plots.training(curves, metric), path)
        if evaluation.slices:
            picture = outlines.outlines(evaluation.slices)
            drawing.save(picture, folder / "figures" / "slices")

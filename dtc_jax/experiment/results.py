"""What a run leaves in its folder: tables, metrics.json, figures and the study's report."""

import dataclasses
import pathlib
from collections.abc import Iterator

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.experiment import artefacts, calibrated, examples, occlusion, report
from dtc_jax.experiment import network as network_lib
from dtc_jax.report import cohort_plots, drawing, outlines
from dtc_jax.statistics import predictions_table
from dtc_jax.tasks.definition import Evaluation
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import TrainedNetwork
from dtc_jax.training import hosts

UNFINISHED = "unfinished"  # in metrics.json: of `TrainedNetwork`


def evaluate(
    config: ml_collections.ConfigDict,
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    folder: pathlib.Path,
) -> Evaluation:
    """Writes and prints the figures of a run, see `Definition.evaluate`; process 0 alone does.

    Args:
      config: of the run.
      data: its examples.
      network: with a member a fold.
      rows: of `calibrated.predict`, all folds.
      folder: of the run.
    """
    own_notes = [*calibrated.notes(network.members), *notes(network)]
    noted = dataclasses.replace(data, notes=[*data.notes, *own_notes])
    name = predictions_table.run_name(folder.resolve())
    evaluation = network.task.evaluate(config, noted, network, rows, name)
    if calibrated.is_on(config):
        evaluation.metrics[calibrated.FIELD] = calibrated.figures(network.members)
    evaluation.metrics[network_lib.NETWORKS] = network.fingerprints_by_fold()
    evaluation.metrics[UNFINISHED] = list(network.unfinished)
    evaluation.metrics["epochs"] = _epochs(artefacts.curves(folder), config, network)
    hosts.first(lambda: _write(config, evaluation, folder))
    if evaluation.report_of and config.get("write_report", True):
        _report(data, network, rows, evaluation, folder)
    return evaluation


def notes(network: TrainedNetwork) -> list[str]:
    """Says which trainings of a run were stopped before their end: a sentence, or none."""
    if not network.unfinished:
        return []
    return [
        f"not trained to the end ({', '.join(network.unfinished)}), so the figures are those of "
        "networks on the way; --mode=train goes on"
    ]


def is_complete(folder: pathlib.Path, table: str) -> bool:
    """Whether `folder` has the figures of a run, and its table, of networks trained to the end."""
    path = folder / calibrated.METRICS
    if not path.is_file() or not (folder / table).is_file():
        return False
    return not storage.read_json(path).get(UNFINISHED)  # earlier versions did not say


def _write(config: ml_collections.ConfigDict, evaluation: Evaluation, folder: pathlib.Path) -> None:
    for name, table in evaluation.tables.items():
        storage.write_table(folder / name, table)
    storage.write_json(folder / calibrated.METRICS, evaluation.metrics)
    _draw(evaluation, folder)
    print(evaluation.summary)
    for line in _said(evaluation.metrics["epochs"], config):
        print(line)


def _report(
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    evaluation: Evaluation,
    folder: pathlib.Path,
) -> None:
    """Writes the report; for it, the network of each fold classifies its test lesions again."""
    path, table = folder / evaluation.report_of, evaluation.tables[evaluation.report_of]
    by_fold = {int(fold): network.member(i) for i, fold in enumerate(sorted(rows.fold.unique()))}
    occluded = None
    if network.config.data.source != "medmnist3d":  # a mask alone: it has no surroundings
        occluded = occlusion.scores(by_fold, data, table)

    def write() -> None:
        if occluded is not None:
            storage.write_table(folder / occlusion.FILE, occluded)
        shown = examples.make(by_fold, data, table)
        run_artefacts = dataclasses.replace(artefacts.read(path), examples=shown)
        report.write([path], folder / "report", run_artefacts=run_artefacts)

    hosts.first(write)


def _epochs(
    curves: pd.DataFrame | None, config: ml_collections.ConfigDict, network: TrainedNetwork
) -> dict[str, dict[str, dict[str, float]]]:
    """The validation metrics of the best epoch and of the last one, by training.

    The best is picked from many on these same examples, so the difference bounds what the choice
    gained.
    """
    found, monitor = {}, config.train.monitor
    if curves is not None:
        for name, rows in curves[curves.split == "validation"].groupby("training"):
            numbers = rows.astype({"value": float})
            by_epoch = numbers.pivot_table(index="epoch", columns="metric", values="value")
            if monitor not in by_epoch:
                continue
            values = by_epoch[monitor]
            is_loss = network.task.monitors[monitor] == "min"
            best = values.idxmin() if is_loss else values.idxmax()
            found[str(name)] = {
                which: {"epoch": float(epoch), **by_epoch.loc[epoch].dropna().to_dict()}
                for which, epoch in (("best", best), ("last", by_epoch.index[-1]))
            }
    return found


def _said(
    epochs: dict[str, dict[str, dict[str, float]]], config: ml_collections.ConfigDict
) -> Iterator[str]:
    """A line a training: Dice, AUC or what else it is chosen by, of the best and the last epoch."""
    chosen = "" if config.train.get("keep", "best") == "best" else ", which was kept"
    monitor = config.train.monitor
    for name, of_training in epochs.items():
        best, last = of_training["best"], of_training["last"]
        metric = next((metric for metric in ("dice", "auc") if metric in best), monitor)
        where = "" if name == "." else f"{name}: "
        spelled = {"dice": "Dice", "auc": "AUC"}.get(metric, metric)
        yield (
            f"  {where}validation {spelled}: {best[metric]:.3f} in the best epoch, "
            f"{best['epoch']:g}; {last[metric]:.3f} in the last, {last['epoch']:g}{chosen}"
        )


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

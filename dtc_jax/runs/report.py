"""`--mode=report`: statistics, tables, figures and one page of any tables of predictions."""

import pathlib
from collections.abc import Sequence

import pandas as pd

from dtc_jax import storage
from dtc_jax.report import study_report
from dtc_jax.report.report_run import Artefacts
from dtc_jax.runs import artefacts
from dtc_jax.statistics import predictions_table
from dtc_jax.statistics.study import Settings, study


def report(
    predictions: Sequence[storage.PathLike], out: storage.PathLike, threshold: float | None = None
) -> None:
    """Writes the report of the runs in `predictions`; see `report.study_report`.

    What a run left beside its predictions.csv is used as far as it is there; the settings are those
    of the first run's `config.report`.

    Args:
      predictions: CSV files, see `statistics.predictions_table`. The first run is the one that the
        others are compared with.
      out: folder of the report.
      threshold: of the decisions where a table has none; None: 0.5.

    Raises:
      InputError: a table is not what it must be; says where.
    """
    tables: list[pd.DataFrame] = []
    found: dict[str, Artefacts] = {}
    for path in map(pathlib.Path, predictions):
        table = predictions_table.read(path)
        left = artefacts.read(path)
        found |= {run: left for run in table.run.unique() if run not in found}
        tables.append(table)
    complete = predictions_table.complete(pd.concat(tables, ignore_index=True), threshold)
    config = found[complete.run.iloc[0]].config or {} if len(complete) else {}
    figures = study(complete, Settings(threshold=threshold, **config.get("report", {})))
    page = study_report.write(complete, figures, found, out)
    print(f"Report: {page} (open it in a browser)")

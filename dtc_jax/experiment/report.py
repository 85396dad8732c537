"""The study's report of tables of predictions, with what their runs left beside them."""

import pathlib
from collections.abc import Sequence

import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import artefacts
from dtc_jax.report import study_report
from dtc_jax.report.report_run import Artefacts
from dtc_jax.statistics import predictions_table, tables
from dtc_jax.statistics.study import Settings, study


def write(
    predictions: Sequence[storage.PathLike | pd.DataFrame],
    out: storage.PathLike,
    threshold: float | None = None,
    run_artefacts: Artefacts | None = None,
) -> pathlib.Path:
    """Writes the report of the runs in `predictions`; see `report.study_report`.

    What a run left beside its predictions.csv is used as far as it is there; the settings are those
    of the first run's `config.report`.

    Args:
      predictions: CSV files or tables, see `statistics.predictions_table`. The others are compared
        with the first run.
      out: folder of the report.
      threshold: of the decisions where a table has none; None: 0.5.
      run_artefacts: of all runs together; None to read what lies beside each table.

    Returns:
      The page.

    Raises:
      InputError: a table is not as it must be, or no row of any has both a label and a score; names
        the place. Nothing is written.
      UsageError: no table is given.
    """
    if not len(predictions):
        raise UsageError("no table of predictions is given; give at least one.")
    read: list[pd.DataFrame] = []
    by_run: dict[str, Artefacts] = {}
    for given in predictions:
        if isinstance(given, pd.DataFrame):
            table, beside = predictions_table.check(given), run_artefacts or Artefacts()
        else:
            table = predictions_table.read(given)
            beside = run_artefacts or artefacts.read(pathlib.Path(given))
        by_run |= {run: beside for run in table.run.unique() if run not in by_run}
        read.append(table)
    complete = predictions_table.complete(pd.concat(read, ignore_index=True), threshold)
    if tables.usable(complete).empty:
        names = [
            f"table {i}" if isinstance(given, pd.DataFrame) else str(given)
            for i, given in enumerate(predictions, start=1)
        ]
        raise InputError(
            f"{', '.join(names)}: no row has both a label and a score, so there is nothing to "
            "report; fill in both columns."
        )
    config = by_run[complete.run.iloc[0]].config or {}
    figures = study(complete, Settings(threshold=threshold, **config.get("report", {})))
    page = study_report.write(complete, figures, by_run, out)
    for note in figures["notes"]:
        print(f"Note: {note}")
    print(f"Report: {page} (open it in a browser)")
    return page

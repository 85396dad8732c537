"""The whole report: statistics.json, tables, figures and report.html in one folder."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtc_jax import storage
from dtc_jax.report import (
    cohort,
    decision_curves,
    drawing,
    drivers,
    heat_maps,
    page,
    performance,
    provenance,
)
from dtc_jax.report.report_run import Artefacts, OutputFolder, ReportRun

_CHAPTERS = (
    performance.discrimination,
    performance.subgroups,
    drivers.drivers_of_the_score,
    decision_curves.lesions,
    decision_curves.calibration,
    decision_curves.patients,
    decision_curves.abstention,
    cohort.characteristics,
    cohort.training,
    provenance.wrong_decisions,
    heat_maps.heat_maps,
    provenance.choices,
    provenance.checklists,
)


def write(
    predictions: pd.DataFrame,
    statistics: Mapping[str, Any],
    artefacts: Mapping[str, Artefacts],
    folder: storage.PathLike,
) -> pathlib.Path:
    """Writes the report and returns the path of its page.

    Args:
      predictions: of `statistics.predictions_table.complete`, of one or several runs.
      statistics: their figures, of `statistics.study`.
      artefacts: the other files of a run, by its name; may be empty.
      folder: gets statistics.json, tables/, figures/ and report.html.
    """
    output = OutputFolder(pathlib.Path(folder))
    several = len(statistics["runs"]) > 1
    runs = [
        ReportRun(
            name,
            _rows(predictions[predictions.run == name], artefacts.get(name, Artefacts()).lesions),
            sections,
            artefacts.get(name, Artefacts()),
            dataclasses.replace(output, prefix=name if several else ""),
        )
        for name, sections in statistics["runs"].items()
    ]
    with drawing.style():
        chapters = [performance.comparisons(statistics["comparisons"], output)]
        for run in runs:
            for chapter in _CHAPTERS:
                section = chapter(run)
                title = f"{section.title}: {run.name}" if several else section.title
                chapters.append(dataclasses.replace(section, title=title))
    names = ", ".join(run.name for run in runs)
    html = page.render(
        title=f"RAI-refractory or RAI-avid: {names}",
        summary=[
            "A network gives each lung metastasis a probability of being RAI-refractory. A lesion "
            "at or above the threshold is classified as refractory, and I-131 would be withheld. "
            "Unless stated otherwise, figures are of test lesions, which were not used for "
            "training or for any choice."
        ],
        warnings=_warnings(statistics, runs),
        headlines=[line for run in runs for line in performance.headlines(run, several)],
        sections=chapters if several else [*chapters[1:], chapters[0]],
    )
    storage.write_json(output.path / "statistics.json", statistics)
    path = output.path / "report.html"
    storage.write_text(path, html)
    return path


def _rows(predictions: pd.DataFrame, lesions: pd.DataFrame | None) -> pd.DataFrame:
    """A run's predictions with the further columns of its lesions."""
    if lesions is None:
        return predictions
    key = ["patient_id", "lesion_id"]
    new = [column for column in lesions if column in key or column not in predictions]
    return predictions.merge(lesions[new], on=key, how="left", validate="many_to_one")


def _warnings(statistics: Mapping[str, Any], runs: list[ReportRun]) -> list[str]:
    """The notes that a reader must see first, once each."""
    notes = [*statistics["notes"]]
    for run in runs:
        notes += run.artefacts.metrics.get("notes", [])
    return list(dict.fromkeys(notes))

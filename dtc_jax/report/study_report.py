"""The whole report: statistics.json, tables, figures and report.html in one folder."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtc_jax import storage
from dtc_jax.report import cohort, drawing, page, performance, provenance, usefulness
from dtc_jax.report.subject import Artefacts, Place, Subject

_CHAPTERS = (
    performance.discriminating,
    performance.subgroups,
    usefulness.deciding,
    usefulness.calibrating,
    usefulness.patients,
    usefulness.abstaining,
    cohort.studied,
    cohort.training,
    provenance.failures,
    provenance.chosen,
    provenance.checklist,
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
      statistics: what `statistics.study` says of them.
      artefacts: what else is known of a run, by its name; may be empty.
      folder: gets statistics.json, tables/, figures/ and report.html.
    """
    place = Place(pathlib.Path(folder))
    several = len(statistics["runs"]) > 1
    subjects = [
        Subject(
            name,
            _rows(predictions[predictions.run == name], artefacts.get(name, Artefacts()).lesions),
            sections,
            artefacts.get(name, Artefacts()),
            dataclasses.replace(place, prefix=name if several else ""),
        )
        for name, sections in statistics["runs"].items()
    ]
    with drawing.style():
        chapters = [performance.compared(statistics["comparisons"], place)]
        for subject in subjects:
            for chapter in _CHAPTERS:
                made = chapter(subject)
                title = f"{made.title}: {subject.name}" if several else made.title
                chapters.append(dataclasses.replace(made, title=title))
    names = ", ".join(subject.name for subject in subjects)
    html = page.render(
        title=f"RAI-refractory or RAI-avid: {names}",
        summary=[
            "A network gives each lung metastasis a probability of being RAI-refractory. A lesion "
            "at or above the threshold is decided refractory, and I-131 would be withheld. Figures "
            "are of lesions that had no part in training or in any choice, unless they say so."
        ],
        warnings=_warnings(statistics, subjects),
        headlines=[
            line for subject in subjects for line in performance.headlines(subject, several)
        ],
        sections=chapters if several else [*chapters[1:], chapters[0]],
    )
    storage.write_json(place.folder / "statistics.json", statistics)
    path = place.folder / "report.html"
    storage.write_text(path, html)
    return path


def _rows(predictions: pd.DataFrame, lesions: pd.DataFrame | None) -> pd.DataFrame:
    """A run's predictions with what else is known of its lesions."""
    if lesions is None:
        return predictions
    key = ["patient_id", "lesion_id"]
    new = [column for column in lesions if column in key or column not in predictions]
    return predictions.merge(lesions[new], on=key, how="left", validate="many_to_one")


def _warnings(statistics: Mapping[str, Any], subjects: list[Subject]) -> list[str]:
    """What a reader must see first, once each."""
    notes = [*statistics["notes"]]
    for subject in subjects:
        notes += subject.artefacts.metrics.get("notes", [])
    return list(dict.fromkeys(notes))

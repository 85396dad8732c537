"""The whole report: statistics.json, tables, figures and report.html in one folder."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
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

_PAGE = "report.html"
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
      folder: gets statistics.json, tables/, figures/ and report.html; all of them, or none if
        something fails. What else is in it stays.

    Raises:
      InputError: the folder cannot be written, or something is in the way of a file.
    """
    with _all_or_nothing(pathlib.Path(folder)) as partial:
        _write(predictions, statistics, artefacts, OutputFolder(partial))
    return pathlib.Path(folder) / _PAGE


@contextlib.contextmanager
def _all_or_nothing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder whose files are moved into `folder`, the page last, if the block succeeds."""
    if not folder.exists():
        with storage.atomic_folder(folder) as partial:
            yield partial
        return
    with storage.atomic(folder / _PAGE) as page_path:  # in a temporary folder of its own
        yield page_path.parent
        made = [path for path in sorted(page_path.parent.rglob("*")) if path.is_file()]
        moves = {path: folder / path.relative_to(page_path.parent) for path in made}
        del moves[page_path]
        for target in moves.values():  # before the first of them is moved
            is_free = target.is_file() or not target.exists()
            if not is_free or (target.parent.exists() and not target.parent.is_dir()):
                raise InputError(
                    f"{target}: cannot be written: something else than a file, or a file in place "
                    "of its folder, is there; delete it, or choose another folder."
                )
        for path, target in moves.items():
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)


def _write(
    predictions: pd.DataFrame,
    statistics: Mapping[str, Any],
    artefacts: Mapping[str, Artefacts],
    output: OutputFolder,
) -> None:
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
        positive="RAI-refractory",
    )
    storage.write_json(output.path / "statistics.json", statistics)
    storage.write_text(output.path / _PAGE, html)


def _rows(predictions: pd.DataFrame, lesions: pd.DataFrame | None) -> pd.DataFrame:
    """A run's predictions with the further columns of its lesions."""
    if lesions is None:
        return predictions
    key = ["patient_id", "lesion_id"]
    new = [column for column in lesions if column in key or column not in predictions]
    return predictions.merge(lesions[new], on=key, how="left", validate="many_to_one")


def _warnings(statistics: Mapping[str, Any], runs: list[ReportRun]) -> list[str]:
    """The notes that a reader must see first, once each; what holds for some runs names them."""
    names: dict[str, list[str]] = {}
    for run in runs:
        for note in dict.fromkeys(run.artefacts.metrics.get("notes", [])):
            names.setdefault(note, []).append(run.name)
    of_runs = [
        note if len(having) == len(runs) else f"{', '.join(having)}: {note}"
        for note, having in names.items()
    ]
    return list(dict.fromkeys([*statistics["notes"], *of_runs]))

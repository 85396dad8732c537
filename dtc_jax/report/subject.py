"""What a chapter of the report is written about: one run, its figures, its files and its place."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib import figure

from dtc_jax import storage
from dtc_jax.report import drawing, page
from dtc_jax.statistics import tables


@dataclasses.dataclass(frozen=True)
class Artefacts:
    """What a run left beside its predictions, as far as it is there.

    Attributes:
      config: of config.json.
      metrics: of metrics.json; used are split, candidates, notes and flow.
      data: of data.json: fingerprints.
      baselines: of baselines.csv: predictions tables told apart by `run`.
      lesions: what else is known of the lesions, by patient_id and lesion_id: scanner, kvp, ….
      curves: columns training, epoch, split, metric, value: what was logged.
      fingerprint: SHA-256 of predictions.csv.
    """

    config: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    baselines: pd.DataFrame | None = None
    lesions: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where figures and tables are written, and what their names begin with."""

    folder: pathlib.Path
    prefix: str = ""

    def figure(
        self, name: str, drawn: figure.Figure, caption: str, *, wide: bool = False
    ) -> page.Figure:
        """Saves a figure as figures/PREFIX-NAME.svg and .png."""
        file = f"figures/{_file_name(self.prefix, name)}"
        return page.Figure(drawing.save(drawn, self.folder / file), caption, file, wide)

    def table(self, name: str, rows: pd.DataFrame, caption: str) -> page.Table:
        """Saves a table as tables/PREFIX-NAME.csv."""
        file = f"tables/{_file_name(self.prefix, name)}.csv"
        storage.write_table(self.folder / file, rows)
        return page.Table(rows, caption, file)


@dataclasses.dataclass(frozen=True)
class Subject:
    """One run of the report.

    Attributes:
      name: of the run.
      rows: its predictions, of `statistics.predictions_table`.
      sections: {cohort: {split: SECTION}} of `statistics.study`.
      artefacts: what else is known.
      place: where its figures and tables go.
    """

    name: str
    rows: pd.DataFrame
    sections: Mapping[str, Mapping[str, Mapping[str, Any]]]
    artefacts: Artefacts
    place: Place
    _baselines: dict[str, Any] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = self.artefacts.baselines
        groups = () if table is None else table.groupby("run", sort=False)
        found = {str(name): tables.metrics(rows) for name, rows in groups}
        object.__setattr__(self, "_baselines", found)

    def tested(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The cohorts that have test lesions, each with its SECTION."""
        for cohort, by_split in self.sections.items():
            if "test" in by_split:
                yield cohort, by_split["test"]

    def baselines(self, cohort: str, split: str = "test") -> dict[str, Mapping[str, Any]]:
        """Each baseline's figures (of `statistics.tables`), the best AUC first."""
        known = {
            name: found[cohort][split]
            for name, found in self._baselines.items()
            if split in found.get(cohort, {})
        }
        return dict(sorted(known.items(), key=lambda item: -(item[1]["auc"]["value"] or 0)))

    def baseline_rows(self, name: str, cohort: str) -> pd.DataFrame:
        """Labelled and scored test rows of a baseline that `baselines` names."""
        table = self.artefacts.baselines
        assert table is not None  # or it would have no figures
        rows = table[(table.run == name) & (table.cohort == cohort) & (table.split == "test")]
        return rows[rows.score.notna() & rows.label.notna()]


def _file_name(*parts: str) -> str:
    return "-".join(re.sub(r"[^\w.]+", "-", part) for part in parts if part)

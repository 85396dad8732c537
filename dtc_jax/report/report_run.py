"""One run of the report: its predictions, figures and files, and its output folder."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib import figure

from dtc_jax import storage
from dtc_jax.report import drawing, page
from dtc_jax.report.example import Example
from dtc_jax.statistics import tables


@dataclasses.dataclass(frozen=True)
class Artefacts:
    """The files that a run left beside its predictions; what is missing is empty or None.

    Attributes:
      config: of config.json.
      metrics: of metrics.json; used are split, candidates, notes and flow.
      data: of data.json: fingerprints.
      init: of init.json: the run whose weights it started from.
      baselines: of baselines.csv: predictions tables, distinguished by `run`.
      lesions: further columns by patient_id and lesion_id: scanner, kvp, ….
      curves: logged metrics: columns training, epoch, split, metric, value.
      fingerprint: SHA-256 of predictions.csv.
      occluded: scores of test lesions without a part of the picture, see `experiment.occlusion`.
      examples: lesions to show with their heat maps. No file has them: the networks were at hand.
    """

    config: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    init: Mapping[str, Any] | None = None
    baselines: pd.DataFrame | None = None
    lesions: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    fingerprint: str = ""
    occluded: pd.DataFrame | None = None
    examples: tuple[Example, ...] = ()


@dataclasses.dataclass(frozen=True)
class OutputFolder:
    """The folder of the figures and tables, and the prefix of their names."""

    path: pathlib.Path
    prefix: str = ""

    def figure(
        self, name: str, drawn: figure.Figure, caption: str, *, wide: bool = False
    ) -> page.Figure:
        """Saves a figure as figures/PREFIX-NAME.svg and .png."""
        file = f"figures/{_file_name(self.prefix, name)}"
        return page.Figure(drawing.save(drawn, self.path / file), caption, file, wide)

    def table(self, name: str, rows: pd.DataFrame, caption: str) -> page.Table:
        """Saves a table as tables/PREFIX-NAME.csv."""
        file = f"tables/{_file_name(self.prefix, name)}.csv"
        storage.write_table(self.path / file, rows)
        return page.Table(rows, caption, file)


@dataclasses.dataclass(frozen=True)
class ReportRun:
    """One run of the report.

    Attributes:
      name: of the run.
      rows: its predictions, of `statistics.predictions_table`.
      sections: {cohort: {split: SECTION}} of `statistics.study`.
      artefacts: the other files of the run.
      output: where its figures and tables are written.
    """

    name: str
    rows: pd.DataFrame
    sections: Mapping[str, Mapping[str, Mapping[str, Any]]]
    artefacts: Artefacts
    output: OutputFolder

    @functools.cached_property
    def _baselines(self) -> dict[str, Any]:
        table = self.artefacts.baselines
        groups = () if table is None else table.groupby("run", sort=False)
        return {str(name): tables.metrics(rows) for name, rows in groups}

    def tested(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The cohorts that have test lesions with label and score, each with its SECTION."""
        for cohort, by_split in self.sections.items():
            if "test" in by_split and by_split["test"]["lesions"]:
                yield cohort, by_split["test"]

    def baselines(self, cohort: str, split: str = "test") -> dict[str, Mapping[str, Any]]:
        """The figures of each baseline (of `statistics.tables`), the best AUC first."""
        figures = {
            name: by_cohort[cohort][split]
            for name, by_cohort in self._baselines.items()
            if split in by_cohort.get(cohort, {})
        }
        return dict(sorted(figures.items(), key=lambda item: -(item[1]["auc"]["value"] or 0)))

    def baseline_rows(self, name: str, cohort: str) -> pd.DataFrame:
        """The test rows with a label and a score of a baseline that `baselines` returns."""
        table = self.artefacts.baselines
        assert table is not None  # or `baselines` would be empty
        rows = table[(table.run == name) & (table.cohort == cohort) & (table.split == "test")]
        return rows[rows.score.notna() & rows.label.notna()]

    def beside_baseline(self, name: str, cohort: str) -> pd.DataFrame:
        """The test rows of the network, and in `baseline` the score of a baseline.

        It is NaN where the baseline does not score a lesion, as without the patient's age.
        """
        rows = self.rows[(self.rows.cohort == cohort) & (self.rows.split == "test")]
        key = ["fold", "patient_id", "lesion_id"]
        other = self.baseline_rows(name, cohort)[[*key, "score"]]
        other = other.rename(columns={"score": "baseline"})
        return tables.usable(rows).merge(other, on=key, how="left")


def _file_name(*parts: str) -> str:
    return "-".join(re.sub(r"[^\w.]+", "-", part) for part in parts if part)

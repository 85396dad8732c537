"""The lesions of the study and their labels: inclusion, exclusion, labelling, sampling.

Evidence columns of the manifest, all optional:

| column | meaning | rule of the study |
|---|---|---|
| histology_confirmed | 1: differentiated thyroid cancer by histology | 0: excluded |
| other_cancer | 1: known other cancer | 1: excluded |
| earlier_rai | 1: earlier radioactive iodine for the lung metastases | 1: excluded |
| first_ct | 1: CT at the first appearance of the lung metastases | 0: excluded |
| quality_ok | 0: poor image quality | 0: excluded |
| ct_to_spect_days | days from CT to SPECT | more than 14: excluded |
| uptake | 'clear', 'weak' or 'none' on post-treatment I-131 SPECT | clear: avid |
| uptake_percent | of the administered dose, if uptake is weak | below 10: refractory (a) |
| pathology_confirmed | 1: metastasis by pathology | without uptake: refractory (b) |
| thyroglobulin_rising | 1: rising | with the next three, without uptake: refractory (c) |
| growth | 1: growth on CT | |
| follow_up_months | months between the CTs | 6 to 24 |
| readers_agree | 1: two radiologists and two nuclear physicians agree | |

A lesion that is neither avid nor refractory is indeterminate: excluded and counted. Our own rules,
where the study states none: an empty `uptake` is derived from `uptake_percent` (0 none, else weak);
'clear' below 10 %, 'none' at 10 % or more and 'weak' without a percentage are indeterminate.

If a column is absent, or empty for a whole cohort, it was not recorded: its rule is not applied to
that cohort, and the flow states this. An empty cell among filled ones is a missing record, which
excludes the lesion. A lesion without information on uptake keeps the label of the manifest.
"""

import dataclasses
import hashlib
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import pandas as pd

from dtc_jax.errors import InputError, UsageError

_MAX_DAYS = 14
_UPTAKE_PERCENT = 10
_MONTHS = (6, 24)
UPTAKES = ("clear", "weak", "none")
_CRITERIA = (  # in the order of the flowchart: column, flag of exclusion (None: a number), reason
    ("histology_confirmed", 0, "no histologically confirmed differentiated thyroid cancer"),
    ("other_cancer", 1, "another cancer"),
    ("earlier_rai", 1, "earlier radioactive iodine for lung metastases"),
    ("first_ct", 0, "CT not from when the lung metastases first appeared"),
    ("quality_ok", 0, "poor image quality"),
    ("ct_to_spect_days", None, f"more than {_MAX_DAYS} days between CT and SPECT"),
)
_ENDORSED = ("pathology_confirmed", "thyroglobulin_rising", "growth", "readers_agree")
FLAGS = (*(column for column, flag, _ in _CRITERIA if flag is not None), *_ENDORSED)
QUANTITIES = ("ct_to_spect_days", "uptake_percent", "follow_up_months")
EVIDENCE = (*FLAGS, *QUANTITIES, "uptake")


@dataclasses.dataclass(frozen=True)
class Step:
    """One line of the flowchart of a cohort.

    Attributes:
      reason: as text.
      lesions: number of lesions concerned.
      patients: number of their patients; of an exclusion, number of patients who leave the study,
        so that exclusions add up to the differences of the counts of lesions and of patients.
      kind: 'count' of the remaining lesions, 'excluded' ones, or a 'note' that changes no count.
      cohort: of the flowchart.
    """

    reason: str
    lesions: int
    patients: int
    kind: Literal["count", "excluded", "note"]
    cohort: str


@dataclasses.dataclass(frozen=True)
class Selection:
    """The lesions of the study and how they were selected.

    Attributes:
      table: the rows of the manifest for the lesions of the study. `label` is 0 or 1,
        `label_reason` its rule or 'as given', `label_given` the label in the manifest.
      flow: the flowcharts of all cohorts, sorted by cohort.
      contradictions: ids of the lesions whose label in the manifest contradicts the evidence.
      unlabelled: the rows that only lack a label to be of the study. Where lesions are drawn, they
        are those that the labelled ones of their patient leave room for.
    """

    table: pd.DataFrame
    flow: list[Step]
    contradictions: list[str]
    unlabelled: pd.DataFrame


def select(table: pd.DataFrame, rules: Any, path: str = "the manifest") -> Selection:
    """Applies the rules of the study for inclusion, exclusion and labels, then samples lesions.

    The evidence determines the label and overrides the label of the manifest; `contradictions` and
    a note in the flow report changes.

    Args:
      table: of `manifest.read_manifest`.
      rules: per_patient, draw_cohorts and seed, see `draw`.
      path: of the manifest, for messages.

    Raises:
      InputError: no lesion is left.
      UsageError: see `draw`.
    """
    parts, flow, contradictions, unlabelled = [], [], [], []
    _check_draw(table, rules.per_patient, rules.draw_cohorts)
    for cohort, rows in table.groupby("cohort"):
        chart = _Chart(str(cohort), rows)
        _exclude(chart)
        contradictions += _label(chart)
        drawn = draw(chart.rows, rules.per_patient, rules.seed, rules.draw_cohorts)
        others = chart.unlabelled
        taken = drawn.patient_id.value_counts().reindex(others.patient_id, fill_value=0)
        room = pd.Series(rules.per_patient - taken.to_numpy(), others.index)
        unlabelled.append(draw(others, room, rules.seed, rules.draw_cohorts))
        if cohort in rules.draw_cohorts:
            not_drawn = ~chart.rows.lesion_id.isin(drawn.lesion_id)
            reason = f"not sampled: more than {rules.per_patient} lesions per patient"
            chart.exclude(reason, not_drawn)
        chart.count("in the study")
        parts.append(chart.rows)
        flow += chart.steps
    selected = pd.concat(parts).sort_index().reset_index(drop=True)
    if selected.empty:
        excluded = [f"{step.lesions} {step.reason}" for step in flow if step.kind == "excluded"]
        raise InputError(
            f"{path}: the study excludes every lesion: {'; '.join(excluded)}. Fill in or correct "
            "the columns that say so, such as `label`."
        )
    beside = pd.concat(unlabelled).sort_index().reset_index(drop=True)
    return Selection(selected, flow, contradictions, beside)


def labels(table: pd.DataFrame) -> pd.Series:
    """The label of each lesion by the evidence.

    Returns:
      'avid', 'refractory (a)', 'refractory (b)', 'refractory (c)', 'indeterminate', or '' if uptake
      is unknown. # [N], index of `table`
    """

    def values(column: str) -> pd.Series:
        return table[column] if column in table else pd.Series(np.nan, index=table.index)

    percent = values("uptake_percent").astype(float)
    derived = pd.Series("", table.index).mask(percent == 0, "none").mask(percent > 0, "weak")
    uptake = values("uptake").astype(object).where(values("uptake").notna(), derived)
    low, high = percent < _UPTAKE_PERCENT, percent >= _UPTAKE_PERCENT
    none = (uptake == "none") & ~high
    followed = values("follow_up_months").astype(float).between(*_MONTHS)
    for column in ("thyroglobulin_rising", "growth", "readers_agree"):
        followed &= values(column) == 1
    conditions = {
        "": uptake == "",
        "avid": (uptake == "clear") & ~low,
        "refractory (a)": (uptake == "weak") & low,
        "refractory (b)": none & (values("pathology_confirmed") == 1),
        "refractory (c)": none & followed,
    }
    names = np.select(list(conditions.values()), list(conditions), "indeterminate")
    return pd.Series(names, index=table.index)


def draw(
    table: pd.DataFrame, per_patient: int | pd.Series, seed: int, cohorts: Collection[str]
) -> pd.DataFrame:
    """At most `per_patient` random lesions of each patient of `cohorts`, and all others.

    The limit may be given for each row. The sample depends only on the seed and on the ids of the
    patient's lesions, not on the order of the rows or on other patients.
    """

    def number(lesion: str) -> str:
        return hashlib.sha256(f"{seed}:{lesion}".encode()).hexdigest()

    shuffled = table.assign(number=table.lesion_id.map(number)).sort_values("number")
    rank = shuffled.groupby("patient_id").cumcount().reindex(table.index)
    return table[~table.cohort.isin(list(cohorts)) | (rank < per_patient)]


class _Chart:
    """The remaining lesions of a cohort and the steps of its flowchart."""

    def __init__(self, cohort: str, rows: pd.DataFrame):
        self.cohort, self.rows, self.steps = cohort, rows, list[Step]()
        self.unlabelled = rows[:0]
        self.count("in the manifest")

    def count(self, reason: str) -> None:
        self._add(reason, self.rows, "count")

    def note(self, reason: str, which: pd.Series) -> None:
        self._add(reason, self.rows[which], "note")

    def exclude(self, reason: str, which: pd.Series) -> None:
        excluded, self.rows = self.rows[which], self.rows[~which]
        leaving = excluded[~excluded.patient_id.isin(self.rows.patient_id)]
        self._add(reason, excluded, "excluded", leaving)

    def _add(
        self,
        reason: str,
        rows: pd.DataFrame,
        kind: Literal["count", "excluded", "note"],
        patients: pd.DataFrame | None = None,
    ) -> None:
        count = (rows if patients is None else patients).patient_id.nunique()
        self.steps.append(Step(reason, len(rows), count, kind, self.cohort))


def _exclude(chart: _Chart) -> None:
    """Applies the criteria; a lesion is counted under the first one that excludes it."""
    recorded = {c for c in EVIDENCE if c in chart.rows and chart.rows[c].notna().any()}
    absent = [column for column, _, _ in _CRITERIA if column not in recorded]
    if absent:
        everyone = pd.Series(True, chart.rows.index)
        chart.note(f"not applied, since not recorded: {', '.join(absent)}", everyone)
    criteria = [criterion for criterion in _CRITERIA if criterion[0] in recorded]
    for column, flag, reason in criteria:
        values = chart.rows[column].astype(float)
        chart.exclude(reason, values.abs() > _MAX_DAYS if flag is None else values == flag)
    if criteria:
        empty = chart.rows[[column for column, _, _ in criteria]].isna().any(axis=1)
        chart.exclude("record missing: an empty cell in a column of the criteria", empty)


def _label(chart: _Chart) -> list[str]:
    """Labels the lesions; returns the ids of those whose given label contradicts the evidence."""
    reason = labels(chart.rows)
    decided = reason.map({"avid": 0.0} | {f"refractory ({rule})": 1.0 for rule in "abc"})
    given = chart.rows.label
    chart.rows = chart.rows.assign(
        label=decided.fillna(given), label_reason=reason.replace("", "as given"), label_given=given
    )
    # A label in the manifest does not include a lesion whose evidence is indeterminate.
    if (reason != "").any():
        chart.exclude(
            "indeterminate: neither avid nor refractory by the study's rules",
            chart.rows.label_reason == "indeterminate",
        )
    chart.unlabelled = chart.rows[chart.rows.label.isna()]
    chart.exclude("without a label: in no figure", chart.rows.label.isna())
    as_given = chart.rows.label_reason == "as given"
    if as_given.any():
        chart.note("label as given, since no uptake is recorded", as_given)
    differs = chart.rows.label_given.notna() & (chart.rows.label_given != chart.rows.label)
    if differs.any():
        chart.note("given label contradicts the evidence, which is used", differs)
    return sorted(chart.rows.lesion_id[differs])


def _check_draw(table: pd.DataFrame, per_patient: int, cohorts: Collection[str]) -> None:
    if isinstance(cohorts, str):
        raise UsageError(f"config.selection.draw_cohorts is the text {cohorts!r}; give a tuple.")
    unknown = sorted(set(cohorts) - set(table.cohort))
    if unknown:
        raise UsageError(
            f"config.selection.draw_cohorts names {', '.join(unknown)}, but the manifest's cohorts "
            f"are {', '.join(sorted(set(table.cohort)))}."
        )
    if cohorts and per_patient < 1:
        raise UsageError(
            f"config.selection.per_patient is {per_patient}; draw at least 1 lesion per patient, "
            "or empty config.selection.draw_cohorts to keep all."
        )

"""Who is in the study and what each lesion is: inclusion, exclusion, labels, the draw.

Evidence columns of the manifest, all optional:

| column | meaning | rule of the study |
|---|---|---|
| histology_confirmed | 1: differentiated thyroid cancer by histology | 0: excluded |
| other_cancer | 1: another cancer is known | 1: excluded |
| earlier_rai | 1: the lung metastases had radioactive iodine before | 1: excluded |
| first_ct | 1: CT from when the lung metastases first appeared | 0: excluded |
| quality_ok | 0: poor image quality | 0: excluded |
| ct_to_spect_days | days from CT to SPECT | more than 14: excluded |
| uptake | 'clear', 'weak' or 'none' on post-treatment I-131 SPECT | clear: avid |
| uptake_percent | of the administered dose, where uptake is weak | below 10: refractory (a) |
| pathology_confirmed | 1: metastasis by pathology | without uptake: refractory (b) |
| thyroglobulin_rising | 1: rising | with the next three, without uptake: refractory (c) |
| growth | 1: grew on CT | |
| follow_up_months | months between the CTs | 6 to 24 |
| readers_agree | 1: two radiologists and two nuclear physicians agree | |

What is neither avid nor refractory is indeterminate: excluded and counted. Readings of our own,
where the study is silent: an empty `uptake` is read from `uptake_percent` (0 none, else weak);
'clear' below 10 %, 'none' from 10 % on and 'weak' without a per cent are indeterminate.

A column that is absent, or empty for a whole cohort, was not recorded there: its rule is not
applied to that cohort, and the flow says so. An empty cell among filled ones is a missing record,
which excludes the lesion. A lesion without a word on its uptake keeps the manifest's label.
"""

import dataclasses
import hashlib
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import pandas as pd

from dtc_jax.errors import InputError, UsageError

_MOST_DAYS = 14
_UPTAKE_PERCENT = 10
_MONTHS = (6, 24)
UPTAKES = ("clear", "weak", "none")
_CRITERIA = (  # in the flowchart's order: column, its flag for exclusion (None: a number), reason
    ("histology_confirmed", 0, "no histologically confirmed differentiated thyroid cancer"),
    ("other_cancer", 1, "another cancer"),
    ("earlier_rai", 1, "earlier radioactive iodine for lung metastases"),
    ("first_ct", 0, "CT not from when the lung metastases first appeared"),
    ("quality_ok", 0, "poor image quality"),
    ("ct_to_spect_days", None, f"more than {_MOST_DAYS} days between CT and SPECT"),
)
_ENDORSED = ("pathology_confirmed", "thyroglobulin_rising", "growth", "readers_agree")
FLAGS = (*(column for column, flag, _ in _CRITERIA if flag is not None), *_ENDORSED)
QUANTITIES = ("ct_to_spect_days", "uptake_percent", "follow_up_months")
EVIDENCE = (*FLAGS, *QUANTITIES, "uptake")


@dataclasses.dataclass(frozen=True)
class Step:
    """One line of a cohort's flowchart.

    Attributes:
      reason: in words.
      lesions: how many it concerns.
      patients: how many have such lesions; of an exclusion, how many leave the study by it, so that
        the exclusions add up to the difference of the counts in lesions and in patients.
      kind: 'count' of the lesions at hand, 'excluded' ones, or a 'note' that changes no count.
      cohort: whose flowchart.
    """

    reason: str
    lesions: int
    patients: int
    kind: Literal["count", "excluded", "note"]
    cohort: str


@dataclasses.dataclass(frozen=True)
class Selection:
    """The lesions of the study and how they came to be those.

    Attributes:
      table: the manifest's rows and columns of the study's lesions. `label` is 0 or 1,
        `label_reason` the rule it comes from or 'as given', `label_given` the manifest's label.
      flow: every cohort's flowchart, cohorts by name.
      contradictions: ids of the lesions of the manifest whose given label the evidence contradicts.
    """

    table: pd.DataFrame
    flow: list[Step]
    contradictions: list[str]


def select(table: pd.DataFrame, rules: Any) -> Selection:
    """Applies the study's inclusion, exclusion and labelling rules, then the draw.

    The evidence decides the label, also against the manifest's; `contradictions` and a note of the
    flow name what it changed.

    Args:
      table: of `manifest.read_manifest`.
      rules: per_patient, draw_cohorts and seed, see `draw`.

    Raises:
      InputError: no lesion is left.
      UsageError: see `draw`.
    """
    parts, flow, contradictions = [], [], []
    _check_draw(table, rules.per_patient, rules.draw_cohorts)
    for cohort, rows in table.groupby("cohort"):
        chart = _Chart(str(cohort), rows)
        _exclude(chart)
        contradictions += _label(chart)
        drawn = draw(chart.rows, rules.per_patient, rules.seed, rules.draw_cohorts)
        if cohort in rules.draw_cohorts:
            beyond = ~chart.rows.lesion_id.isin(drawn.lesion_id)
            chart.exclude(f"not drawn: more than {rules.per_patient} lesions a patient", beyond)
        chart.count("in the study")
        parts.append(chart.rows)
        flow += chart.steps
    selected = pd.concat(parts).sort_index().reset_index(drop=True)
    if selected.empty:
        out = [f"{step.lesions} {step.reason}" for step in flow if step.kind == "excluded"]
        raise InputError(f"no lesion of the manifest is left for the study: {'; '.join(out)}.")
    return Selection(selected, flow, contradictions)


def labels(table: pd.DataFrame) -> pd.Series:
    """What the evidence says of each lesion.

    Returns:
      'avid', 'refractory (a)', 'refractory (b)', 'refractory (c)', 'indeterminate', or '' where
      there is no word on uptake. # [N], index of `table`
    """

    def known(column: str) -> pd.Series:
        return table[column] if column in table else pd.Series(np.nan, index=table.index)

    percent = known("uptake_percent").astype(float)
    read = pd.Series("", table.index).mask(percent == 0, "none").mask(percent > 0, "weak")
    uptake = known("uptake").astype(object).where(known("uptake").notna(), read)
    low, high = percent < _UPTAKE_PERCENT, percent >= _UPTAKE_PERCENT
    none = (uptake == "none") & ~high
    followed = known("follow_up_months").astype(float).between(*_MONTHS)
    for column in ("thyroglobulin_rising", "growth", "readers_agree"):
        followed &= known(column) == 1
    conditions = {
        "": uptake == "",
        "avid": (uptake == "clear") & ~low,
        "refractory (a)": (uptake == "weak") & low,
        "refractory (b)": none & (known("pathology_confirmed") == 1),
        "refractory (c)": none & followed,
    }
    found = np.select(list(conditions.values()), list(conditions), "indeterminate")
    return pd.Series(found, index=table.index)


def draw(
    table: pd.DataFrame, per_patient: int, seed: int, cohorts: Collection[str]
) -> pd.DataFrame:
    """At most `per_patient` lesions of each patient of `cohorts`, at random; all of the others.

    The draw depends on the seed and on the ids of the patient's lesions alone: neither the order
    of the rows nor another patient changes it.
    """

    def number(lesion: str) -> str:
        return hashlib.sha256(f"{seed}:{lesion}".encode()).hexdigest()

    shuffled = table.assign(number=table.lesion_id.map(number)).sort_values("number")
    rank = shuffled.groupby("patient_id").cumcount().reindex(table.index)
    return table[~table.cohort.isin(list(cohorts)) | (rank < per_patient)]


class _Chart:
    """The lesions of one cohort while its flowchart is drawn."""

    def __init__(self, cohort: str, rows: pd.DataFrame):
        self.cohort, self.rows, self.steps = cohort, rows, list[Step]()
        self.count("in the manifest")

    def count(self, reason: str) -> None:
        self._add(reason, self.rows, "count")

    def note(self, reason: str, which: pd.Series) -> None:
        self._add(reason, self.rows[which], "note")

    def exclude(self, reason: str, which: pd.Series) -> None:
        out, self.rows = self.rows[which], self.rows[~which]
        leaving = out[~out.patient_id.isin(self.rows.patient_id)]
        self._add(reason, out, "excluded", leaving)

    def _add(
        self,
        reason: str,
        rows: pd.DataFrame,
        kind: Literal["count", "excluded", "note"],
        patients: pd.DataFrame | None = None,
    ) -> None:
        of = rows if patients is None else patients
        self.steps.append(Step(reason, len(rows), of.patient_id.nunique(), kind, self.cohort))


def _exclude(chart: _Chart) -> None:
    """Applies the criteria; a lesion counts for the first that it fails."""
    known = {c for c in EVIDENCE if c in chart.rows and chart.rows[c].notna().any()}
    absent = [column for column, _, _ in _CRITERIA if column not in known]
    if absent:
        everyone = pd.Series(True, chart.rows.index)
        chart.note(f"not checked, since not recorded: {', '.join(absent)}", everyone)
    criteria = [criterion for criterion in _CRITERIA if criterion[0] in known]
    for column, flag, reason in criteria:
        values = chart.rows[column].astype(float)
        chart.exclude(reason, values.abs() > _MOST_DAYS if flag is None else values == flag)
    if criteria:
        empty = chart.rows[[column for column, _, _ in criteria]].isna().any(axis=1)
        chart.exclude("record missing: an empty cell among the criteria's", empty)


def _label(chart: _Chart) -> list[str]:
    """Labels the lesions; returns the ids of those whose given label the evidence contradicts."""
    reason = labels(chart.rows)
    decided = reason.map({"avid": 0.0} | {f"refractory ({rule})": 1.0 for rule in "abc"})
    given = chart.rows.label
    chart.rows = chart.rows.assign(
        label=decided.fillna(given), label_reason=reason.replace("", "as given"), label_given=given
    )
    # A label in the manifest does not save a lesion on which the evidence is indeterminate.
    if (reason != "").any():
        chart.exclude(
            "indeterminate: neither avid nor refractory by the study's rules",
            chart.rows.label_reason == "indeterminate",
        )
    chart.exclude("without a label: kept for prediction", chart.rows.label.isna())
    as_given = chart.rows.label_reason == "as given"
    if as_given.any():
        chart.note("label as given, since no uptake is recorded", as_given)
    differs = chart.rows.label_given.notna() & (chart.rows.label_given != chart.rows.label)
    if differs.any():
        chart.note("given label contradicts the evidence, which stands", differs)
    return sorted(chart.rows.lesion_id[differs])


def _check_draw(table: pd.DataFrame, per_patient: int, cohorts: Collection[str]) -> None:
    if isinstance(cohorts, str):
        raise UsageError(f"config.selection.draw_cohorts is the word {cohorts!r}; give a tuple.")
    unknown = sorted(set(cohorts) - set(table.cohort))
    if unknown:
        raise UsageError(
            f"config.selection.draw_cohorts names {', '.join(unknown)}, but the manifest's cohorts "
            f"are {', '.join(sorted(set(table.cohort)))}."
        )
    if cohorts and per_patient < 1:
        raise UsageError(
            f"config.selection.per_patient is {per_patient}; draw at least 1 lesion a patient, or "
            "empty config.selection.draw_cohorts to keep all."
        )

"""Who is in the study and what each lesion is: inclusion, exclusion, labels, the draw.

Evidence columns of the manifest, all optional; a rule without its column is not applied:

| column | meaning | rule of the study |
|---|---|---|
| histology_confirmed | 1: differentiated thyroid cancer by histology | else excluded |
| other_cancer | 1: another cancer is known | excluded |
| earlier_rai | 1: lung metastases were treated with I-131 before | excluded |
| quality_ok | 0: poor image quality | excluded |
| ct_to_spect_days | days from CT to SPECT | more than 14: excluded |
| uptake | 'clear', 'weak' or 'none' on post-treatment I-131 SPECT | clear: avid |
| uptake_percent | of the administered dose, where uptake is weak | below 10: refractory (a) |
| pathology_confirmed | 1: metastasis by pathology | without uptake: refractory (b) |
| thyroglobulin_rising | 1 | with the next three, without uptake: refractory (c) |
| growth | 1: grew on CT | |
| follow_up_months | between the CTs | 6 to 24 |
| readers_agree | 1: two radiologists and two nuclear physicians | |

What is neither avid nor refractory is indeterminate: excluded and counted.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pandas as pd

EVIDENCE = (
    "histology_confirmed",
    "other_cancer",
    "earlier_rai",
    "quality_ok",
    "ct_to_spect_days",
    "uptake",
    "uptake_percent",
    "pathology_confirmed",
    "thyroglobulin_rising",
    "growth",
    "follow_up_months",
    "readers_agree",
)
_MOST_DAYS = 14
_UPTAKE_PERCENT = 10
_MONTHS = (6, 24)


@dataclasses.dataclass(frozen=True)
class Step:
    """A box of the flowchart: what is left after it, or what it takes away.

    Attributes:
      reason: in words.
      lesions: how many it concerns.
      patients: how many have such lesions.
      excluded: whether they leave the study here.
    """

    reason: str
    lesions: int
    patients: int
    excluded: bool


@dataclasses.dataclass(frozen=True)
class Selection:
    """The lesions of the study, labelled, and how they came to be those."""

    table: pd.DataFrame
    flow: list[Step]


def select(table: pd.DataFrame, rules: Any) -> Selection:
    """Applies the study's inclusion, exclusion and labelling rules, then the draw.

    Args:
      table: of `manifest.read_manifest`.
      rules: per_patient, draw_cohorts and seed, see `draw`.

    Returns:
      Labelled lesions (`label` 0 or 1) and the flowchart's counts. Evidence decides the label where
      there is any; a lesion without takes the manifest's.
    """
    flow = [_step("in the manifest", table, excluded=False)]
    everyone = table
    for reason, fails in _exclusions(everyone):
        flow.append(_step(reason, everyone[fails], excluded=True))
        table = table[~fails.loc[table.index]]
    decided = labels_by_evidence(table)
    has_evidence = decided != "unknown"
    indeterminate = (decided == "indeterminate").to_numpy()
    if has_evidence.any():
        reason = "indeterminate: neither avid nor refractory by the study's rules"
        flow.append(_step(reason, table[indeterminate], excluded=True))
    by_evidence = decided.map({"avid": 0.0, "refractory": 1.0})
    differs = (by_evidence.notna() & table.label.notna() & (by_evidence != table.label)).to_numpy()
    if differs.any():
        reason = "label of the manifest replaced, since the evidence says otherwise"
        flow.append(_step(reason, table[differs], excluded=False))
    table = table.assign(label=by_evidence.fillna(table.label))[~indeterminate]
    unlabelled = table.label.isna()
    if unlabelled.any():
        flow.append(_step("without a label", table[unlabelled], excluded=True))
        table = table[~unlabelled]
    drawn = draw(table, rules.per_patient, rules.seed, tuple(rules.draw_cohorts))
    if len(drawn) < len(table):
        beyond = table[~table.lesion_id.isin(drawn.lesion_id)]
        flow.append(_step(f"beyond {rules.per_patient} lesions a patient", beyond, excluded=True))
    flow.append(_step("in the study", drawn, excluded=False))
    return Selection(drawn.reset_index(drop=True), flow)


def labels_by_evidence(table: pd.DataFrame) -> pd.Series:
    """'avid', 'refractory', 'indeterminate', or 'unknown' where there is no word on uptake."""

    def known(column: str) -> pd.Series:
        return table[column] if column in table else pd.Series(np.nan, index=table.index)

    uptake = known("uptake").astype(object).where(known("uptake").notna(), "")
    none = uptake == "none"
    a = (uptake == "weak") & (known("uptake_percent") < _UPTAKE_PERCENT)
    b = none & (known("pathology_confirmed") == 1)
    c = (
        none
        & (known("thyroglobulin_rising") == 1)
        & (known("growth") == 1)
        & known("follow_up_months").between(*_MONTHS)
        & (known("readers_agree") == 1)
    )
    label = np.where(uptake == "clear", "avid", np.where(a | b | c, "refractory", "indeterminate"))
    return pd.Series(np.where(uptake == "", "unknown", label), index=table.index)


def draw(table: pd.DataFrame, per_patient: int, seed: int, cohorts: tuple[str, ...]) -> pd.DataFrame:
    """At most `per_patient` lesions of each patient of `cohorts`, drawn at random.

    The draw hangs on the seed and the lesion's id alone, so neither the order of the rows nor
    other patients change it.
    """

    def number(lesion: str) -> str:
        return hashlib.sha256(f"{seed}:{lesion}".encode()).hexdigest()

    rank = table.lesion_id.map(number).groupby(table.patient_id).rank(method="first")
    return table[~table.cohort.isin(cohorts) | (rank <= per_patient)]


def _exclusions(table: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """Each reason with the lesions it concerns; a lesion counts for the first that it meets."""
    rules = [
        ("histology_confirmed", lambda x: x == 0, "differentiated thyroid cancer not confirmed"),
        ("other_cancer", lambda x: x == 1, "another cancer"),
        ("earlier_rai", lambda x: x == 1, "earlier radioactive iodine for lung metastases"),
        ("quality_ok", lambda x: x == 0, "poor image quality"),
        (
            "ct_to_spect_days",
            lambda x: x.abs() > _MOST_DAYS,
            f"more than {_MOST_DAYS} days between CT and SPECT",
        ),
    ]
    found = []
    before = pd.Series(False, index=table.index)
    for column, rule, reason in rules:
        if column in table:
            fails = rule(pd.to_numeric(table[column], errors="coerce")) & ~before
            before |= fails
            found.append((reason, fails))
    return found


def _step(reason: str, table: pd.DataFrame, *, excluded: bool) -> Step:
    return Step(reason, len(table), table.patient_id.nunique(), excluded)

"""The study's rules: who stays, as which class, and counts that add up."""

import types

import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort import selection
from dtc_jax.errors import InputError, UsageError

RULES = types.SimpleNamespace(per_patient=5, draw_cohorts=(), seed=0)
FIT = {
    "histology_confirmed": 1,
    "other_cancer": 0,
    "earlier_rai": 0,
    "first_ct": 1,
    "quality_ok": 1,
    "ct_to_spect_days": 3.0,
}
CONFIRMED = {"thyroglobulin_rising": 1, "growth": 1, "follow_up_months": 12, "readers_agree": 1}


def _table(*rows: dict, patients: str = "") -> pd.DataFrame:
    """Rows of patients named by a letter each, with a column for all that any row has."""
    table = pd.DataFrame([{"label": np.nan, "cohort": "primary", **row} for row in rows])
    table["patient_id"] = list(patients or "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(rows)])
    return table.assign(lesion_id=[f"L{i}" for i in range(len(rows))])


def _counts(chosen: selection.Selection, cohort: str = "primary") -> dict[str, tuple[int, int]]:
    steps = [step for step in chosen.flow if step.cohort == cohort]
    return {step.reason.split(":")[0]: (step.lesions, step.patients) for step in steps}


def _assert_adds_up(flow: list[selection.Step]) -> None:
    for cohort in {step.cohort for step in flow}:
        steps = [step for step in flow if step.cohort == cohort]
        first, *_, last = [step for step in steps if step.kind == "count"]
        out = [step for step in steps if step.kind == "excluded"]
        assert first.lesions - sum(step.lesions for step in out) == last.lesions
        assert first.patients - sum(step.patients for step in out) == last.patients


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({"uptake": "clear"}, "avid"),
        ({"uptake": "clear", "uptake_percent": 40.0}, "avid"),
        ({"uptake": "clear", "uptake_percent": 5.0}, "indeterminate"),
        ({"uptake": "weak", "uptake_percent": 9.9}, "refractory (a)"),
        ({"uptake": "weak", "uptake_percent": 10.0}, "indeterminate"),
        ({"uptake": "weak"}, "indeterminate"),
        ({"uptake_percent": 5.0}, "refractory (a)"),
        ({"uptake": "none"}, "indeterminate"),
        ({"uptake": "none", "pathology_confirmed": 1}, "refractory (b)"),
        ({"uptake_percent": 0.0, "pathology_confirmed": 1}, "refractory (b)"),
        ({"uptake": "none", "uptake_percent": 30.0, "pathology_confirmed": 1}, "indeterminate"),
        ({"uptake": "none", **CONFIRMED}, "refractory (c)"),
        ({"uptake": "weak", **CONFIRMED}, "indeterminate"),
        ({"uptake": "none", **CONFIRMED, "follow_up_months": 6}, "refractory (c)"),
        ({"uptake": "none", **CONFIRMED, "follow_up_months": 24}, "refractory (c)"),
        ({"uptake": "none", **CONFIRMED, "follow_up_months": 5.9}, "indeterminate"),
        ({"uptake": "none", **CONFIRMED, "follow_up_months": 25}, "indeterminate"),
        *(({"uptake": "none", **CONFIRMED, c: 0}, "indeterminate") for c in list(CONFIRMED)[:2]),
        ({"uptake": "none", **CONFIRMED, "readers_agree": np.nan}, "indeterminate"),
        ({"pathology_confirmed": 1, **CONFIRMED}, ""),
    ],
)
def test_labels_follow_the_evidence(evidence, expected):
    absent = selection.labels(pd.DataFrame([evidence]))
    empty = selection.labels(pd.DataFrame([evidence]).reindex(columns=selection.EVIDENCE))
    assert absent.tolist() == empty.tolist() == [expected]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"histology_confirmed": 0}, "no histologically confirmed differentiated thyroid cancer"),
        ({"other_cancer": 1}, "another cancer"),
        ({"earlier_rai": 1}, "earlier radioactive iodine for lung metastases"),
        ({"first_ct": 0}, "CT not from when the lung metastases first appeared"),
        ({"quality_ok": 0}, "poor image quality"),
        ({"ct_to_spect_days": 14.5}, "more than 14 days between CT and SPECT"),
        ({"earlier_rai": np.nan}, "record missing"),
        ({"uptake": "weak"}, "indeterminate"),
        ({"uptake": None}, "without a label"),
        # Of several reasons the first counts, once.
        ({"quality_ok": 0, "other_cancer": 1, "uptake": None}, "another cancer"),
    ],
)
def test_each_rule_excludes_with_its_reason(change, reason):
    fits = {**FIT, "uptake": "clear"}
    chosen = selection.select(
        _table(fits, {**fits, **change}, {**fits, "ct_to_spect_days": 14}), RULES
    )
    assert chosen.table.lesion_id.tolist() == ["L0", "L2"]
    excluded = [s for s in chosen.flow if s.kind == "excluded" and s.lesions]
    assert [(s.reason.split(":")[0], s.lesions, s.patients) for s in excluded] == [(reason, 1, 1)]
    _assert_adds_up(chosen.flow)


def test_a_patient_leaves_with_the_last_lesion():
    fits = {**FIT, "uptake": "clear"}
    table = _table(fits, {**fits, "quality_ok": 0}, {**fits, "quality_ok": 0}, patients="AAB")
    counts = _counts(selection.select(table, RULES))
    assert counts["in the manifest"] == (3, 2)
    assert counts["poor image quality"] == (2, 1)
    assert counts["in the study"] == (1, 1)


def test_without_evidence_the_given_labels_stand_and_the_flow_says_so():
    table = _table({"label": 0.0}, {"label": 1.0}, {}).assign(uptake=None, quality_ok=np.nan)
    chosen = selection.select(table, RULES)
    assert chosen.table.label.tolist() == [0, 1]
    assert chosen.table.label_reason.tolist() == ["as given"] * 2
    counts = _counts(chosen)
    assert counts["not applied, since not recorded"] == (3, 3)
    assert counts["without a label"] == (1, 1)
    assert counts["label as given, since no uptake is recorded"] == (2, 2)
    assert "poor image quality" not in counts
    assert chosen.contradictions == []


def test_evidence_overrules_a_given_label_and_names_the_lesion():
    table = _table(
        {"label": 1.0, "uptake": "clear"},
        {"label": 0.0, "uptake": "clear"},
        {"label": 1.0, "uptake": "none"},
        {"label": 1.0, "uptake": None},
    )
    chosen = selection.select(table, RULES)
    assert chosen.table.lesion_id.tolist() == ["L0", "L1", "L3"]
    assert chosen.table.label.tolist() == [0, 0, 1]
    assert chosen.table.label_given.tolist() == [1, 0, 1]
    assert chosen.contradictions == ["L0"]
    assert _counts(chosen)["given label contradicts the evidence, which is used"] == (1, 1)
    assert _counts(chosen)["label as given, since no uptake is recorded"] == (1, 1)


def test_each_cohort_has_its_own_flowchart():
    primary = {**FIT, "uptake": "clear"}
    table = _table(primary, {"cohort": "external", "label": 1.0}, {**primary, "other_cancer": 1})
    chosen = selection.select(table, RULES)
    assert chosen.table.lesion_id.tolist() == ["L0", "L1"]  # in the manifest's order
    # What a cohort never recorded does not exclude it.
    assert _counts(chosen, "external")["in the study"] == (1, 1)
    assert _counts(chosen)["another cancer"] == (1, 1)
    _assert_adds_up(chosen.flow)


def _many(lesions: int = 9, patients: int = 40) -> pd.DataFrame:
    rows = [{"label": float(i % 2)} for i in range(lesions * patients)]
    table = _table(*rows, patients="x" * len(rows))
    owner = np.arange(len(table)) // lesions
    cohort = np.where(owner < patients // 2, "primary", "external")
    return table.assign(patient_id=[f"P{i}" for i in owner], cohort=cohort)


def test_the_draw_keeps_five_of_each_patient_of_its_cohorts_only():
    table = _many()
    chosen = selection.select(
        table, types.SimpleNamespace(per_patient=5, draw_cohorts=("primary",), seed=0)
    )
    sizes = chosen.table.groupby(["cohort", "patient_id"]).size()
    assert set(sizes["primary"]) == {5}
    assert set(sizes["external"]) == {9}
    assert _counts(chosen)["not sampled"] == (4 * 20, 0)
    _assert_adds_up(chosen.flow)


def test_the_draw_is_seeded_and_blind_to_order_and_other_patients():
    table = _many()

    def drawn(rows: pd.DataFrame, seed: int) -> set[str]:
        return set(selection.draw(rows, 5, seed, ("primary",)).lesion_id)

    assert drawn(table, 0) == drawn(table.sample(frac=1, random_state=1), 0)
    assert drawn(table, 0) != drawn(table, 1)
    alone = table[table.patient_id == "P3"]
    assert drawn(alone, 0) == drawn(table, 0) & set(alone.lesion_id)


def test_every_lesion_is_drawn_as_often():
    table = _many(lesions=10, patients=2).query("cohort == 'primary'")
    times = sum(
        table.lesion_id.isin(selection.draw(table, 5, seed, ("primary",)).lesion_id).to_numpy(int)
        for seed in range(400)
    )
    assert times.sum() == 5 * 400
    assert np.abs(times - 200).max() < 5 * 10  # five standard deviations of a fair draw


def test_bad_rules_and_an_empty_study_are_refused():
    table = _table({"uptake": "none"}, {"uptake": "weak"})
    with pytest.raises(
        InputError, match=r"a\.csv: the study excludes .* 2 indeterminate.* Fill in"
    ):
        selection.select(table, RULES, "a.csv")
    for change, words in (
        ({"draw_cohorts": ("primry",)}, "primry, but the manifest's cohorts are primary"),
        ({"draw_cohorts": "primary"}, "give a tuple"),
        ({"draw_cohorts": ("primary",), "per_patient": 0}, "at least 1 lesion"),
    ):
        rules = types.SimpleNamespace(**(vars(RULES) | change))
        with pytest.raises(UsageError, match=words):
            selection.select(table, rules)

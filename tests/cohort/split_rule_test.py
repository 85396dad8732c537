"""Readings of the study's split: two parts, the first patients in time order, and by lesion."""

import ast
import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest

import dtc_jax
from configs import senet
from dtc_jax.cohort.split_rule import Rule, make_rule
from dtc_jax.errors import InputError, UsageError


def _cohort() -> pd.DataFrame:
    """120 patients with 1 to 5 lesions of one class each, numbered in time order."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(120), rng.integers(1, 6, 120))
    return pd.DataFrame(
        {
            "patient_id": [f"P{patient:03d}" for patient in patients],
            "lesion_id": [f"L{i:04d}" for i in range(len(patients))],
            "label": (patients % 2).astype(float),
            "scan_order": patients.astype(float) + 1,
            "cohort": "primary",
        }
    )


def test_two_parts_are_seven_to_three_without_validation():
    table = _cohort()
    rows = Rule(kind="two_part").assign(table)
    assert set(rows.split) == {"train", "test"}
    assert rows.patient_id[
        rows.split == "test"
    ].nunique() / rows.patient_id.nunique() == pytest.approx(0.3, abs=0.05)
    assert not (
        set(rows.patient_id[rows.split == "train"]) & set(rows.patient_id[rows.split == "test"])
    )
    # It tests the patients of the hold-out, whose validation joins the training.
    holdout = Rule().assign(table).set_index("lesion_id").split.replace("validation", "train")
    assert rows.set_index("lesion_id").split.to_dict() == holdout.to_dict()


def test_the_first_patients_are_those_of_the_earliest_scans():
    table = _cohort()
    late = table.patient_id == "P000"
    table.loc[late, "scan_order"] = 500.0
    table.loc[table.index[late][0], "scan_order"] = 0.5  # a patient counts by the first scan
    others = table[table.patient_id.isin(["P110", "P111"])].assign(cohort="elsewhere")
    table = pd.concat([table[~table.patient_id.isin(others.patient_id)], others])
    rows = Rule(first_patients=60).assign(table)
    own = rows[rows.cohort == "primary"]
    assert set(own.patient_id) == {f"P{i:03d}" for i in range(60)}
    assert set(rows.patient_id[rows.cohort == "elsewhere"]) == {"P110", "P111"}
    assert Rule(first_patients=60).describe(rows)["first_patients"] == 60


@pytest.mark.parametrize(
    ("fields", "empty", "error", "words"),
    [
        ({"first_patients": 500}, False, UsageError, "there are only 120 patients"),
        ({"first_patients": 20}, True, InputError, "scan_order is empty for some"),
        ({"first_patients": -1}, False, UsageError, "or 0 for all"),
    ],
)
def test_first_patients_that_cannot_be_told_are_refused(fields, empty, error, words):
    table = _cohort()
    if empty:
        table.loc[3, "scan_order"] = np.nan
    with pytest.raises(error, match=words):
        Rule(**fields).assign(table)


def test_a_split_by_lesion_says_how_many_patients_leak():
    table = _cohort()
    rule = Rule(unit="lesion")
    rows = rule.assign(table)
    sides = rows.groupby("patient_id").split.agg(set)
    assert rule.describe(rows)["leaked_patients"] == sum({"train", "test"} <= s for s in sides) > 20
    assert "leaked_patients" not in Rule().describe(Rule().assign(table))


@pytest.mark.parametrize("kind", ["temporal", "center", "column", "file", "two_part"])
def test_folds_of_a_rule_that_gives_one_split_are_refused(kind):
    split = senet.get_config("demo").split.unlock()
    split.update(kind=kind, folds=2)
    with pytest.raises(UsageError, match=f"kind is '{kind}', which is one split"):
        make_rule(split)


def test_no_other_module_reads_a_field_of_config_split():
    fields = {field.name for field in dataclasses.fields(Rule)}
    room = pathlib.Path(dtc_jax.__file__).parent
    readers = [
        f"{path.relative_to(room)}:{node.lineno}: {ast.unparse(node)}"
        for path in sorted(room.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in fields
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "split"
    ]
    assert readers == []

"""Whose lesions without a label may be learned from: never those of whom the split tests."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort import persons, unlabelled
from dtc_jax.cohort.split_rule import Rule

ROWS = pd.DataFrame(
    {
        "patient_id": ["trained", "chosen", "tested", "elsewhere"],
        "lesion_id": ["l1", "l2", "l3", "l4"],
        "split": ["train", "validation", "test", "test"],
        "cohort": ["primary"] * 3 + ["external"],
        "scan_order": [1.0, 2.0, 5.0, 1.0],
        "same_patient": [None, None, "old-7", None],
    }
)
NONE = ("new",)  # patients without a labelled lesion


def _table(*patients, **columns):
    table = pd.DataFrame({"patient_id": patients or ("trained", "chosen", "tested", *NONE)})
    table = table.assign(cohort="primary", split=None, center="a", scan_order=np.nan, **columns)
    return table.assign(lesion_id=[f"u{i}" for i in range(len(table))])


def _found(table, **fields):
    return list(unlabelled.to_learn_from(Rule(**fields), table, ROWS).patient_id)


@pytest.mark.parametrize("kind", ["holdout", "kfold", "two_part"])
@pytest.mark.parametrize("unit", ["patient", "lesion"])
def test_those_of_training_patients_and_of_patients_on_no_side(kind, unit):
    assert _found(_table(), kind=kind, unit=unit) == ["trained", "new"]


def test_no_other_cohort_than_the_divided_one():
    assert _found(_table("new", "trained").assign(cohort=["external", "primary"])) == ["trained"]


def test_further_ids_and_other_spellings_are_the_same_person():
    table = _table("CHOSEN", "n1", "n2", "old\u20107", same_patient=[None, "x Tested", "y", None])
    assert _found(table) == ["n2"]


def test_a_person_on_another_side_in_the_next_fold_is_left_out_there():
    other = ROWS.assign(split=["test", "train", "train", "train"])
    found = unlabelled.to_learn_from(Rule(kind="kfold"), _table(), other)
    assert list(found.patient_id) == ["chosen", "tested", "new"]


def test_a_given_side_counts_for_all_lesions_of_the_person():
    table = _table("trained", "trained", "new", "new", "n2", "n3", "n3", "tested")
    table.split = ["train", None, "train", "test", None, "train", "train", "train"]
    assert _found(table, kind="column") == ["trained", "trained", "n3", "n3"]


def test_a_file_must_have_the_patient_in_training(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("patient_id,split\ntrained,train\nchosen,train\ntested,test\nnew,train\n")
    table = _table("trained", "chosen", "tested", "new", "absent")
    assert _found(table, kind="file", file=str(path)) == ["trained", "new"]


def test_no_patient_of_the_centre_that_is_left_out():
    table = _table("trained", "new", "new", "n2").assign(center=["a", "a", "b", "unknown"])
    assert _found(table, kind="center", center="b") == ["trained", "n2"]


def test_nobody_who_came_after_the_first_tested_patient():
    table = _table("trained", "n1", "n2", "n3", "n3", "n4", "n4")
    table.scan_order = [9, 4, 5, 4, 9, 1, np.nan]
    assert _found(table, kind="temporal") == ["trained", "n1", "n3", "n3"]


def test_only_patients_who_take_part_where_the_first_ones_do():
    assert _found(_table(), first_patients=3) == ["trained"]


@pytest.mark.parametrize("kind", ["holdout", "column", "center", "temporal"])
def test_none_are_none(kind):
    assert _found(_table()[:0], kind=kind) == []


def test_rows_of_persons_are_found_by_any_of_their_ids():
    rows = pd.DataFrame({"patient_id": ["a", "b", "c"], "same_patient": ["x y", None, "z"]})
    assert persons.are_among(rows, {"Y", "b"}).tolist() == [True, True, False]
    assert persons.are_among(rows[["patient_id"]], {"Y", "b"}).tolist() == [False, True, False]

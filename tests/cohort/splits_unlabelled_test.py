"""Patients without a labelled lesion follow the split of the others, and change nothing in it."""

import types

import pandas as pd
import pytest

from dtc_jax.cohort import splits
from dtc_jax.errors import InputError

OTHERS = pd.DataFrame(
    {
        "patient_id": ["a", "a", "b", "c"],
        "scan_order": [1.0, 9.0, 5.0, 7.0],
        "split": ["train", "train", "test", "test"],
    }
)


def _split(**change) -> types.SimpleNamespace:
    fields = {"kind": "holdout", "seed": 0, "center": ""}
    fields |= {"test_fraction": 0.3, "validation_fraction": 0.25}
    return types.SimpleNamespace(**(fields | change))


def _table(count, **columns):
    ids = [f"h{i:02d}" for i in range(count)]
    return pd.DataFrame({"patient_id": ids, **columns})


def _sides(table, **change):
    return splits.assign_unlabelled(table, OTHERS, _split(**change)).set_index("patient_id").split


def test_shares_are_those_of_the_others_and_hang_on_ids_and_seed_alone():
    table = _table(20)
    sides = _sides(table)
    assert sides.value_counts().to_dict() == {"train": 10, "test": 6, "validation": 4}
    twice = pd.concat([table, table])[::-1]  # two scans each
    pd.testing.assert_series_equal(_sides(twice), sides)
    assert not _sides(table, seed=1).equals(sides)


def test_one_at_least_is_judged():
    assert _sides(_table(1)).tolist() == ["test"]
    assert sorted(_sides(_table(2))) == ["test", "train"]
    assert _sides(_table(0)).empty


def test_sides_that_are_given_are_kept():
    table = _table(3, split=["train", "test", "train"])
    assert _sides(table, kind="column").tolist() == ["train", "test", "train"]


def test_the_latest_are_those_not_before_the_first_test_of_the_others():
    table = _table(4, scan_order=[4.0, 5.0, 6.0, 3.0])
    again = table.assign(scan_order=8.0)  # a later scan moves nobody
    sides = _sides(pd.concat([again, table]), kind="temporal", validation_fraction=0.01)
    assert sides.tolist() == ["train", "test", "test", "train"]


def test_the_centre_that_is_left_out_is_the_test():
    table = _table(3, center=["Lyon", "Rome", "Lyon"])
    sides = _sides(table, kind="center", center="Rome", validation_fraction=0.01)
    assert sides.tolist() == ["train", "test", "train"]


@pytest.mark.parametrize(
    ("kind", "columns", "words"),
    [
        ("column", {"split": ["train", None]}, "split is empty for 1 of 2 rows .* patient h01"),
        ("temporal", {"scan_order": [None, None]}, "scan_order is empty for 2 of 2"),
        ("column", {"split": ["train", "tests"]}, "Did you mean 'test'"),
    ],
)
def test_gaps_and_wrong_words_are_said(kind, columns, words):
    with pytest.raises(InputError, match=words):
        _sides(_table(2, **columns), kind=kind)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [("column", {"split": ["train", "test"]}), ("center", {"center": ["Lyon", "Rome"]})],
)
def test_a_patient_on_two_sides_is_refused(kind, columns):
    table = _table(2, **columns).assign(patient_id="h")
    with pytest.raises(
        InputError, match="1 patients without a labelled lesion are on more than one side"
    ):
        _sides(table, kind=kind, center="Rome")

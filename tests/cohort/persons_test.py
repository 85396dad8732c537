"""Ids of one person are one patient, however they are linked."""

import pandas as pd

from dtc_jax.cohort import persons


def test_linked_ids_become_the_first_of_them():
    cells = pd.DataFrame(
        {
            "patient_id": ["b", "a", "c", "d", ""],
            "same_patient": ["x", "", "a x", "", ""],
            "lesion_id": list("12345"),
        }
    )
    unified = persons.unify(cells)
    assert unified.patient_id.tolist() == ["b", "b", "b", "d", ""]  # a and b by way of c and x
    assert unified.same_patient.tolist() == ["a c x", "a c x", "a c x", "", ""]
    assert persons.ids(unified.replace("", None)) == {"a", "b", "c", "d", "x"}
    assert persons.unify(unified).equals(unified)


def test_without_the_column_nothing_changes():
    cells = pd.DataFrame({"patient_id": ["b", "a"]})
    assert persons.unify(cells) is cells
    assert persons.with_others(["patient_id"], cells) == ["patient_id"]

"""Spellings that a person takes for one id are not two patients."""

import pandas as pd
import pytest

from dtc_jax import patient_ids
from dtc_jax.cohort import manifest, persons
from dtc_jax.csv_reader import TableError


def _problems(*ids):
    return [str(p) for p in patient_ids.problems(pd.Series(ids, name="patient_id"))]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("P1", "p1", "only by upper and lower case"),
        ("Strasse", "Straße", "only by upper and lower case"),
        ("Jose\u0301", "Jos\u00e9", "only by the Unicode form"),
        ("P1", "\uff301", "only by the Unicode form"),
        ("P1", "P1\u200b", "cannot be seen"),
        ("P1", "P\u00ad1", "cannot be seen"),
        ("P 1", "P\u00a01", "only by"),
        ("P 1", "P1", "only by blanks"),
        ("P1", "\ufeffp1", "only by"),
        ("P-1", "P\u20131", "only by the kind of dash"),
        ("P-1", "P\u20111", "only by the kind of dash"),
        ("P-1", "P\u22121", "only by the kind of dash"),
    ],
)
def test_two_spellings_of_an_id_are_refused(one, other, words):
    (problem,) = _problems(one, "Q", other, one)
    assert "row 2, patient_id" in problem
    assert words in problem
    assert problem.isascii()  # what cannot be seen is written out


def test_different_ids_are_left_alone():
    assert _problems("P1", "P01", "P-1", "NA", "", "1", "01", "12E5", "", "P1") == []


@pytest.mark.parametrize("text", ["1.23E+05", "1,23E+05", "1E+12", "-4.5e+10"])
def test_what_a_spreadsheet_made_of_an_id_is_refused(text):
    (problem,) = _problems("P1", text)
    assert "format their column as text" in problem


def test_a_manifest_cannot_split_a_person(tmp_path):
    for name in ("a.nii", "b.nii", "m.nii", "n.nii"):
        (tmp_path / name).touch()
    path = tmp_path / "lesions.csv"
    rows = ["P1,x,a.nii,m.nii,", "p1,y,b.nii,n.nii,"]
    path.write_text("\n".join(["patient_id,lesion_id,image,mask,same_patient", *rows]))
    with pytest.raises(TableError, match=r"row 3, patient_id: 'p1' looks like 'P1' of row 2"):
        manifest.read_manifest(path)
    path.write_text(path.read_text() + "P1")  # the last row says that they are one
    assert manifest.read_manifest(path).patient_id.tolist() == ["P1", "P1"]


def test_a_person_is_found_again_in_another_spelling():
    assert persons.in_common({"p1", "q"}, {"P1\u200b", "r"}) == {"p1"}

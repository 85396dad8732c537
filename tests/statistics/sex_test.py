"""The sex of patients in the spellings of several languages."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from dtc_jax.statistics import baselines, sex, study


@pytest.mark.parametrize(
    ("female", "male"),
    [
        *(("F", "M"), ("f", "male"), ("Female ", "Male"), ("fem.", "masc.")),
        *(("weiblich", "männlich"), ("W", "M"), ("Frau", "Mann"), ("WEIBLICH", "MÄNNLICH")),
        *(("weiblich", unicodedata.normalize("NFD", "männlich")), ("w", "maennlich")),
        *(("femme", "homme"), ("F", "H"), ("féminin", "masculin")),
        *(("femenino", "masculino"), ("mujer", "hombre"), ("feminino", "masculino")),
        *(
            ("donna", "uomo"),
            ("V", "man"),
            ("Mujer", "Varón"),
            ("kvinna", "man"),
            ("K", "M"),
            ("女", "男"),
        ),
    ],
)
def test_a_pair_of_spellings(female, male):
    found = sex.read(np.array([female, male, female, np.nan, ""], dtype=object))
    assert found.tolist() == [sex.FEMALE, sex.MALE, sex.FEMALE, "", ""]
    rows = pd.DataFrame({"patient_id": list("abcde"), "sex": [female, male, female, np.nan, ""]})
    assert sex.note(rows) == []


def test_the_letters_of_hombre_and_mujer_are_not_guessed():
    rows = pd.DataFrame({"patient_id": list("abc"), "sex": ["H", "M", "M"]})
    assert sex.read(rows.sex).tolist() == ["", "", ""]
    (note,) = sex.note(rows)
    assert "3 of 3 patients ('M' 2, 'H' 1)" in note
    assert "Write F or M" in note


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("V M", ["", ""]),  # vrouw and man, or varón and mujer
        ("V F", ["", "female"]),  # varón and femenino
        ("V M F", ["", "male", "female"]),
        ("V mujer", ["", "female"]),
        ("V M H", ["", "", ""]),
        ("V M vrouw", ["female", "male", "female"]),
        ("V M varón", ["", "", "male"]),
        ("V", ["female"]),
    ],
)
def test_the_letter_of_vrouw_and_varon_is_read_where_the_table_decides(values, expected):
    rows = pd.DataFrame({"patient_id": range(len(expected)), "sex": values.split()})
    assert sex.read(rows.sex).tolist() == expected
    assert len(sex.note(rows)) == ("" in expected)


def test_what_is_not_understood_is_counted_by_patient():
    values = ["1", "1", "2", "F", "unknown", "divers"]
    rows = pd.DataFrame({"patient_id": ["a", "a", "b", "c", "d", "e"], "sex": values})
    (note,) = sex.note(rows)
    assert "sex is not understood for 3 of 5 patients ('1' 1, '2' 1, 'divers' 1)" in note
    assert sex.note(rows[["patient_id"]]) == []
    many = pd.DataFrame({"patient_id": range(9), "sex": [f"x{i}" for i in range(9)]})
    assert "and 4 more)" in sex.note(many)[0]


def test_the_baseline_has_women_of_another_language():
    matrix = baselines.inputs(
        diameter_mm=np.ones(3),
        age=np.full(3, 50.0),
        sex=np.array(["männlich", "weiblich", "mujer"]),
    )["age_sex_diameter"]
    np.testing.assert_array_equal(matrix[:, 1], [0, 1, 1])


def test_the_study_says_so_and_groups_by_the_whole_table():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 2)
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in patient],
            "lesion_id": [str(i) for i in range(80)],
            "split": np.where(patient < 20, "validation", "test"),
            "label": rng.integers(0, 2, 80),
            "score": rng.random(80),
            "sex": np.where(patient < 20, "H", np.where(patient % 2, "M", "mujer")),
        }
    )
    found = study.study(table, study.Settings(resamples=200))
    assert any("sex is not understood for 30 of 40 patients" in note for note in found["notes"])
    (factor,) = [
        f for f in found["runs"]["model"]["primary"]["test"]["subgroups"] if f["factor"] == "sex"
    ]
    # No H is among the test lesions, and M is no man all the same.
    assert [level["level"] for level in factor["levels"]] == ["Female"]

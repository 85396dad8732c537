import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dtc_jax.report import cohort_tables


@pytest.fixture(scope="module")
def lesions() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    patients = 60
    rows = pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(patients)],
            "age": rng.normal(50, 10, patients),
            "sex": np.where(rng.random(patients) < 0.4, "F", "M"),
            "center": np.where(rng.random(patients) < 0.05, "B", "A"),
            "label": np.arange(patients) % 2,
            "cohort": "primary",
        }
    )
    rows = rows.loc[rows.index.repeat(2)].reset_index(drop=True)
    return rows.assign(
        lesion_id=[f"L{i}" for i in range(len(rows))],
        fold=0,
        split=np.where(rows.index < 80, "train", "test"),
        diameter_mm=rng.lognormal(2, 0.9, len(rows)),  # skewed
        mean_hu=rng.normal(0, 50, len(rows)),
        score=0.5,
    )


def row(table: pd.DataFrame, name: str) -> pd.Series:
    return table[table[""].str.startswith(name)].iloc[0]


def groups(rows: pd.DataFrame, column: str) -> list:
    return [rows[rows.label == label][column] for label in (0, 1)]


def test_continuous_columns_have_welchs_t_or_where_skewed_the_rank_test(lesions):
    table = cohort_tables.tables(lesions)["primary by label"]
    patients = lesions.drop_duplicates("patient_id")
    age = row(table, "age")
    assert float(age.P) == pytest.approx(
        stats.ttest_ind(*groups(patients, "age"), equal_var=False).pvalue, abs=6e-4
    )
    assert (
        age.avid
        == f"{groups(patients, 'age')[0].mean():.1f} ({groups(patients, 'age')[0].std():.1f})"
    )
    assert age["P by"] == "Welch's t"
    assert age["P, Welch's t"] == age.P
    diameter = row(table, "largest axial diameter")
    for name, equal in (("Welch's", False), ("Student's", True)):
        expected = stats.ttest_ind(*groups(lesions, "diameter_mm"), equal_var=equal).pvalue
        assert float(diameter[f"P, {name} t"]) == pytest.approx(expected, abs=6e-4)
    assert "median" in diameter[""]
    assert float(diameter.P) == pytest.approx(
        stats.kruskal(*groups(lesions, "diameter_mm")).pvalue, abs=6e-4
    )
    assert "mean" in row(table, "mean attenuation")[""]


def test_categories_have_chi_square_or_where_sparse_the_exact_test(lesions):
    table = cohort_tables.tables(lesions)["primary by label"]
    patients = lesions.drop_duplicates("patient_id")
    sex = row(table, "sex")
    counts = pd.crosstab(patients.sex, patients.label)
    expected = stats.chi2_contingency(counts, correction=False).pvalue
    assert sex["P by"] == "Chi-squared"
    assert float(sex.P) == pytest.approx(expected, abs=6e-4)
    center = row(table, "centre")
    counts = pd.crosstab(patients.center, patients.label)
    assert center["P by"] == "Fisher's exact"
    assert float(center.P) == pytest.approx(stats.fisher_exact(counts).pvalue, abs=6e-4)


def test_patients_are_counted_as_patients_and_a_mixed_one_is_said_to_be(lesions):
    mixed = lesions.assign(label=lesions.label.mask(lesions.lesion_id == "L0", 1))
    table = cohort_tables.tables(mixed)["primary by label"]
    patients, count = row(table, "patients, n"), row(table, "lesions, n")
    assert (patients.overall, patients.avid, patients.mixed) == ("60", "29", "1")
    assert (count.overall, count.avid, count.refractory) == ("120", "59", "61")


def test_splits_are_compared_with_each_other_and_one_group_has_no_test(lesions):
    tables = cohort_tables.tables(lesions)
    assert {"train", "test"} <= set(tables["primary by split"].columns)
    alone = cohort_tables.tables(lesions[lesions.label == 1].assign(split="test"))
    assert list(alone) == ["primary by label"]
    assert "P" not in alone["primary by label"]
    assert not set(cohort_tables._T_TESTS) & set(alone["primary by label"])


def test_exact_test_of_larger_tables_agrees_with_an_enumeration():
    """Freeman-Halton's P of Mehta and Patel's 2 x 3 kind, from all tables of the same margins."""
    counts = np.array([[3, 1, 0], [0, 2, 3]])
    null = stats.random_table(counts.sum(1), counts.sum(0))
    total = 0.0
    for a in range(counts[:, 0].sum() + 1):
        for b in range(counts[:, 1].sum() + 1):
            first = np.array([a, b, counts[0].sum() - a - b])
            table = np.stack([first, counts.sum(0) - first])
            if (table >= 0).all() and null.pmf(table) <= null.pmf(counts) * (1 + 1e-9):
                total += null.pmf(table)
    assert cohort_tables._exact(*counts) == pytest.approx(total, abs=0.02)


def test_how_the_scans_were_acquired_is_in_the_table(lesions):
    rng = np.random.default_rng(0)
    acquired = lesions.assign(
        kvp=np.where(rng.random(len(lesions)) < 0.5, 100.0, 120.0),
        tube_current_ma=rng.normal(200, 20, len(lesions)),
        kernel=np.where(rng.random(len(lesions)) < 0.5, "B30f", "B70f"),
        pixel_mm=rng.normal(0.7, 0.05, len(lesions)),
    )
    table = cohort_tables.tables(acquired)["primary by label"]
    assert "mean (SD)" in row(table, "tube current, mA")[""]
    assert float(row(table, "pixel spacing, mm").P) <= 1
    kernels = table[table[""].str.startswith("reconstruction kernel")]
    assert {text.rpartition(": ")[2] for text in kernels[""]} == {"B30f", "B70f"}

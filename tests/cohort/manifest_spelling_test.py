"""A manifest in the notation of another country or program is not read otherwise than meant."""

import pathlib

import pytest

from dtc_jax.cohort import manifest
from dtc_jax.csv_reader import TableError


def _write(folder: pathlib.Path, column: str, cell: str) -> pathlib.Path:
    for name in ("a.nii.gz", "am.nii.gz"):
        (folder / name).touch()
    path = folder / "lesions.csv"
    path.write_text(
        f"patient_id;lesion_id;image;mask;{column}\nP1;L1;a.nii.gz;am.nii.gz;{cell}\n",
    )
    return path


@pytest.mark.parametrize("column", ["diameter_mm", "age", "kvp", "uptake_percent"])
def test_a_decimal_comma_is_to_be_written_as_a_point(tmp_path, column):
    with pytest.raises(TableError, match=f"row 2, {column}: '8,5' is not .*; write deci") as caught:
        manifest.read_manifest(_write(tmp_path, column, "8,5"))
    assert "leave it empty" not in str(caught.value)


def test_what_is_no_number_at_all_may_be_left_empty(tmp_path):
    with pytest.raises(TableError, match=r"'61 years' is not .*; leave it empty if unknown"):
        manifest.read_manifest(_write(tmp_path, "age", "61 years"))


@pytest.mark.parametrize(
    ("written", "column"),
    [
        *(("Label", "label"), ("lable", "label"), ("centre", "center"), ("Age", "age")),
        *(("Mask label", "mask_label"), ("diameter-mm", "diameter_mm"), ("Uptake", "uptake")),
    ],
)
def test_an_optional_column_in_another_spelling_is_named(tmp_path, written, column):
    words = f"row 1, {column}: the column '{written}' is not read; rename it to '{column}'"
    with pytest.raises(TableError, match=words):
        manifest.read_manifest(_write(tmp_path, written, "1"))


@pytest.mark.parametrize("column", ["note", "age_group", "label_2", "growth_mm"])
def test_a_column_of_ones_own_is_kept(tmp_path, column):
    assert manifest.read_manifest(_write(tmp_path, column, "1"))[column].tolist() == [1.0]


@pytest.mark.parametrize(
    ("label", "advice"),
    [("", "give each its number in mask_label, or delete one"), ("2", "delete one")],
)
def test_lesions_that_share_a_mask_are_not_to_be_deleted_but_numbered(tmp_path, label, advice):
    path = _write(tmp_path, "mask_label", label)
    path.write_text(path.read_text() + f"P1;L2;a.nii.gz;am.nii.gz;{label}\n")
    with pytest.raises(TableError, match=f"row 3, mask: .*: this lesion has another row; {advice}"):
        manifest.read_manifest(path)

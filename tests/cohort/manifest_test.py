"""A manifest is read whole, or every problem is named at once with row, field and what to do."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from dtc_jax import csv_reader
from dtc_jax.cohort import manifest, selection
from dtc_jax.errors import InputError
from dtc_jax.statistics import predictions_table

HEADER = "patient_id,lesion_id,image,mask"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Scans a and b with a mask each, beside a file outside the folder."""
    inside = tmp_path / "study"
    inside.mkdir()
    for name in ("a.nii.gz", "am.nii.gz", "b.nii.gz", "bm.nii.gz"):
        (inside / name).touch()
    (tmp_path / "outside.nii.gz").touch()
    return inside


def _write(folder: pathlib.Path, *lines: str, encoding: str = "utf-8") -> pathlib.Path:
    path = folder / "lesions.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def _problems(folder: pathlib.Path, *lines: str) -> list[tuple[int, str]]:
    with pytest.raises(csv_reader.TableError) as caught:
        manifest.read_manifest(_write(folder, *lines))
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    return [(problem.row, problem.column) for problem in caught.value.problems]


def test_the_smallest_manifest_gets_every_optional_column(folder):
    table = manifest.read_manifest(_write(folder, HEADER, "P1,L1,a.nii.gz,am.nii.gz"))
    row = table.loc[0]
    assert (row.patient_id, row.lesion_id) == ("P1", "L1")
    assert row.image == str(folder.resolve() / "a.nii.gz")
    assert row["mask"] == str(folder.resolve() / "am.nii.gz")
    assert (row.cohort, row.center) == ("primary", "unknown")
    empty = ["lungs", "mask_label", "label", "split", "diameter_mm", "age", "sex", "scan_order"]
    assert row[[*empty, "scanner", "kvp", "slice_mm"]].isna().all()
    assert table.label.dtype == np.float64


def test_values_keep_their_order_and_kind(folder):
    table = manifest.read_manifest(
        _write(
            folder,
            f"{HEADER},mask_label,label,cohort,note,score,code,uptake,growth",
            '007,20,b.nii.gz,bm.nii.gz,2,1,external,"left, upper",1.5,01,none,1',
            "",
            "NA,10,a.nii.gz,am.nii.gz,,,, x ,,02,,",
        )
    )
    assert table.patient_id.tolist() == ["007", "NA"]
    assert table.lesion_id.tolist() == ["20", "10"]
    assert table.cohort.tolist() == ["external", "primary"]
    assert table.note.tolist() == ["left, upper", "x"]
    assert table.code.tolist() == ["01", "02"]  # numbers would lose the zeros
    for column, value in {"mask_label": 2, "label": 1, "score": 1.5, "growth": 1}.items():
        np.testing.assert_array_equal(table[column].to_numpy(), [value, np.nan])
    assert table.uptake[0] == "none"
    assert pd.isna(table.uptake[1])


def test_a_byte_order_mark_and_windows_line_ends_are_read(folder):
    path = _write(folder, f"{HEADER}\r", "P1,L1,a.nii.gz,am.nii.gz\r", encoding="utf-8-sig")
    assert manifest.read_manifest(path).lesion_id.tolist() == ["L1"]


def test_all_problems_are_reported_at_once(folder):
    assert _problems(
        folder,
        f"{HEADER},label,cohort,age,split,mask_label,uptake,growth,ct_to_spect_days",
        "P1,L1,a.nii.gz,am.nii.gz,2,primary,old,val,1.5,some,yes,-3",
        "",
        "P1,L1,b.nii.gz,../outside.nii.gz,1,external,50,train,1,clear,1,3",
        ",,gone.nii.gz,,inf,primary,200,test,0,none,0,0",
        "P4,L4,a.nii.gz",
    ) == [
        *((2, field) for field in ("split", "mask_label", "label", "age")),
        *((2, field) for field in ("growth", "ct_to_spect_days", "uptake")),
        *((4, field) for field in ("lesion_id", "mask", "cohort")),
        *((5, field) for field in ("patient_id", "lesion_id", "image", "mask")),
        *((5, field) for field in ("mask_label", "label", "age")),
        (6, ""),
    ]


@pytest.mark.parametrize(
    ("column", "cell"),
    [("diameter_mm", "0"), ("diameter_mm", "500.1"), ("diameter_mm", "1e19"), ("age", "131")],
)
def test_a_measure_that_none_can_have_is_refused_here_and_in_predictions(folder, column, cell):
    rows = f"{HEADER},{column}", f"P1,L1,a.nii.gz,am.nii.gz,{cell}"
    assert _problems(folder, *rows) == [(2, column)]
    lesion = {"patient_id": ["P1"], "lesion_id": "L1", "label": 1, "score": 0.5, column: cell}
    with pytest.raises(InputError, match=f"row 0, {column}"):
        predictions_table.check(pd.DataFrame(lesion))


@pytest.mark.parametrize(("column", "cell"), [("diameter_mm", "500"), ("age", "0"), ("age", "130")])
def test_a_measure_at_a_limit_is_read_here_and_in_predictions(folder, column, cell):
    rows = f"{HEADER},{column}", f"P1,L1,a.nii.gz,am.nii.gz,{cell}"
    assert manifest.read_manifest(_write(folder, *rows))[column][0] == float(cell)
    lesion = {"patient_id": ["P1"], "lesion_id": "L1", "label": 1, "score": 0.5, column: cell}
    assert predictions_table.check(pd.DataFrame(lesion))[column][0] == float(cell)


def test_a_missing_column_is_named_with_its_misspelling(folder):
    with pytest.raises(csv_reader.TableError, match=r"(?s)lesion_id: .*rename 'Lesion_ID'.*mask"):
        manifest.read_manifest(_write(folder, "patient_id,Lesion_ID,image", "P1,L1,a.nii.gz"))
    assert _problems(folder, "patient_id,Lesion_ID,image", ",L1,gone.nii.gz") == [
        *((1, "lesion_id"), (1, "mask"), (2, "patient_id"), (2, "image")),
    ]


def test_paths_that_leave_the_folder_are_refused(folder):
    (folder / "link.nii.gz").symlink_to(folder.parent / "outside.nii.gz")
    (folder / "inner.nii.gz").symlink_to(folder / "a.nii.gz")
    names = ["../outside.nii.gz", "link.nii.gz", str(folder / "a.nii.gz"), "b/../../outside.nii.gz"]
    rows = [f"P{i},L{i},{name},am.nii.gz" for i, name in enumerate(names)]
    with pytest.raises(csv_reader.TableError) as caught:
        manifest.read_manifest(_write(folder, HEADER, *rows))
    messages = [p.message for p in caught.value.problems if p.column == "image"]
    assert len(messages) == len(names)
    assert all("is outside the folder of the manifest" in message for message in messages)
    manifest.read_manifest(_write(folder, HEADER, "P1,L1,inner.nii.gz,am.nii.gz"))


def test_an_impossible_name_is_no_scan(folder):
    os.symlink(folder / "loop", folder / "loop")
    rows = (f"P1,L{i},{name},am.nii.gz" for i, name in enumerate(["loop", "x" * 5000]))
    assert _problems(folder, HEADER, *rows) == [(2, "image"), (3, "image")]


def test_an_image_may_be_a_folder_of_dicom_and_a_mask_may_not(folder):
    (folder / "ct").mkdir()
    table = manifest.read_manifest(_write(folder, HEADER, "P1,L1,ct,am.nii.gz"))
    assert table.image[0] == str(folder / "ct")
    assert _problems(folder, HEADER, "P1,L1,ct,ct") == [(2, "mask")]


def test_one_lesion_twice_and_one_scan_of_two_patients_are_refused(folder):
    lines = [
        f"{HEADER},mask_label",
        "P1,L1,a.nii.gz,am.nii.gz,1",
        "P1,L2,a.nii.gz,am.nii.gz,2",
        "P1,L3,a.nii.gz,am.nii.gz,2",
        "P2,L4,a.nii.gz,am.nii.gz,3",
    ]
    assert _problems(folder, *lines) == [(4, "mask"), (5, "patient_id")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b" \n\n,,\n", "is empty"),
        (HEADER.encode(), "no rows"),
        (b"patient_id;lesion_id;image;mask,x\nP1;L1;a;b,\n", "rename 'mask,x'"),
        (f"{HEADER}\nP1,L1,a,b\nM\xfcller,L2,a,b".encode("latin-1"), "row 3: .*UTF-8"),
        (HEADER.encode("utf-16"), "UTF-8"),
        (f"{HEADER}\nP1,L\0,a,b".encode(), "not UTF-8 text"),
        (f'{HEADER}\nP1,"L1,a,b\n'.encode(), "quotation mark"),
        (f"{HEADER},mask\nP1,L1,a,b,b".encode(), "row 1, mask: 2 columns have this name"),
    ],
)
def test_what_is_no_table_is_refused(folder, text, words):
    path = folder / "lesions.csv"
    path.write_bytes(text)
    with pytest.raises(csv_reader.TableError, match=words):
        manifest.read_manifest(path)


def test_no_file_and_a_folder_are_refused(folder):
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        manifest.read_manifest(folder / "gone.csv")
    with pytest.raises(InputError, match="is a folder"):
        manifest.read_manifest(folder)


def test_every_evidence_column_is_checked(folder):
    values = ["maybe"] * len(selection.EVIDENCE)
    lines = [
        ",".join([HEADER, *selection.EVIDENCE]),
        ",".join(["P1,L1,a.nii.gz,am.nii.gz", *values]),
    ]
    assert _problems(folder, *lines) == [(2, field) for field in selection.EVIDENCE]


@pytest.mark.skipif("DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder")
def test_the_real_nodules_are_a_manifest():
    path = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_nodules", "lesions.csv")
    table = manifest.read_manifest(path)
    assert len(table) == 814
    assert [(table.label == 0).sum(), (table.label == 1).sum()] == [354, 336]  # the rest: no label
    assert table.mean_malignancy_rating[table.label == 1].between(3, 5).all()


def test_a_mask_of_the_lungs_is_a_path_like_the_others_and_one_a_scan(folder):
    table = manifest.read_manifest(
        _write(
            folder,
            f"{HEADER},mask_label,lungs",
            "P1,L1,a.nii.gz,am.nii.gz,1,bm.nii.gz",
            "P1,L2,a.nii.gz,am.nii.gz,2,bm.nii.gz",
            "P2,L3,b.nii.gz,bm.nii.gz,,",
        )
    )
    assert table.lungs.tolist()[:2] == [str(folder.resolve() / "bm.nii.gz")] * 2
    assert pd.isna(table.lungs[2])
    lines = [
        f"{HEADER},mask_label,lungs",
        "P1,L1,a.nii.gz,am.nii.gz,1,bm.nii.gz",
        "P1,L2,a.nii.gz,am.nii.gz,2,",
        "P1,L3,a.nii.gz,am.nii.gz,3,am.nii.gz",
        "P2,L4,b.nii.gz,bm.nii.gz,1,gone.nii.gz",
        "P2,L5,b.nii.gz,bm.nii.gz,2,../outside.nii.gz",
    ]
    assert _problems(folder, *lines) == [
        *((row, "lungs") for row in (3, 4, 5)),
        *((6, "lungs"), (6, "lungs")),
    ]


def test_a_scan_without_a_lesion_may_have_lungs(folder):
    path = _write(folder, f"{HEADER},lungs", "P1,,a.nii.gz,,am.nii.gz")
    table = manifest.read_manifest(path, healthy=True)
    assert table.lesion_id.isna().all()
    assert table.lungs[0].endswith("am.nii.gz")


@pytest.mark.parametrize("cell", ["label", "mask_label", "diameter_mm", "uptake_percent"])
def test_a_forgotten_lesion_is_no_scan_without_one(folder, cell):
    path = _write(folder, f"{HEADER},{cell}", "P1,,a.nii.gz,,1")
    with pytest.raises(csv_reader.TableError, match=rf"{cell}: is '1', but a row with neither"):
        manifest.read_manifest(path, healthy=True)


@pytest.mark.parametrize("again", ["1", "1.0", "01", "1e0"])
def test_a_lesion_is_one_however_its_number_is_written(folder, again):
    rows = ("P1,L1,a.nii.gz,am.nii.gz,1", f"P1,L2,a.nii.gz,am.nii.gz,{again}")
    assert _problems(folder, f"{HEADER},mask_label", *rows) == [(3, "mask")]
    other = "P1,L2,a.nii.gz,am.nii.gz,2.0"
    table = manifest.read_manifest(_write(folder, f"{HEADER},mask_label", rows[0], other))
    assert table.mask_label.tolist() == [1, 2]


@pytest.mark.parametrize("again", ["./a.nii.gz", "gone/../a.nii.gz", "link.nii.gz"])
def test_a_scan_is_one_however_it_is_spelled(folder, again):
    (folder / "link.nii.gz").symlink_to(folder / "a.nii.gz")
    first = "P1,L1,a.nii.gz,am.nii.gz"
    assert _problems(folder, HEADER, first, f"P2,L2,{again},bm.nii.gz") == [(3, "patient_id")]
    assert _problems(folder, HEADER, first, f"P1,L2,{again},am.nii.gz") == [(3, "mask")]
    table = manifest.read_manifest(_write(folder, HEADER, first, f"P1,L2,{again},bm.nii.gz"))
    assert table.image.nunique() == 1
    both = _write(folder, HEADER, first, f"P1,,{again},")
    with pytest.raises(csv_reader.TableError, match="the scan has another row"):
        manifest.read_manifest(both, healthy=True)


def test_lesions_may_be_boxes_and_scans_have_what_to_ignore(folder):
    header = "patient_id,same_patient,lesion_id,image,mask,box_mm,ignore,view"
    rows = [
        "P1,Q1,L1,a.nii.gz,am.nii.gz,,bm.nii.gz,cube",
        "Q1,,L2,b.nii.gz,,-1 1 -2 2.5 0 3,,",
    ]
    table = manifest.read_manifest(_write(folder, header, *rows), healthy=True)
    assert table.patient_id.tolist() == ["P1", "P1"]
    assert table["view"].tolist() == ["cube", "scan"]
    assert table.ignore[0].endswith("study/bm.nii.gz")
    assert table["mask"].isna().tolist() == [False, True]
    box = manifest.parse_box(table.box_mm[1])
    assert box.tolist() == [[-1, 1], [-2, 2.5], [0, 3]]
    assert _problems(folder, header, *rows) == [(3, "mask")]  # where every lesion needs a mask


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("P1,L1,a.nii.gz,am.nii.gz,0 1 0 1 0 1,", "the lesion has a mask too"),
        ("P1,L1,a.nii.gz,,0 1 0 1,", "is not a box; give x0 x1 y0 y1 z0 z1"),
        ("P1,L1,a.nii.gz,,0 1 0 1 3 2,", "is not a box"),
        ("P1,,a.nii.gz,,0 1 0 1 0 1,", "is a scan without a lesion"),
        ("P1,L1,a.nii.gz,am.nii.gz,,patch", "'patch' is not one of scan, cube"),
    ],
)
def test_what_is_wrong_with_a_box_or_a_view_is_said(folder, row, words):
    with pytest.raises(csv_reader.TableError, match=words):
        manifest.read_manifest(_write(folder, f"{HEADER},box_mm,view", row), healthy=True)

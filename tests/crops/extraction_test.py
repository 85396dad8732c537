import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import SimpleITK as simpleitk
from pydicom import uid

from dtc_jax.crops import extraction, patches, record
from dtc_jax.errors import InputError
from dtc_jax.imaging import ct, volume
from tests import dicom_files

PARAMS = record.CropParams(size_mm=(8, 8, 8))
CUT = functools.partial(extraction.cut_scan, params=PARAMS)


def _table(rows):
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label"]
    return pd.DataFrame(rows, columns=columns)


def test_scans_do_not_depend_on_the_order_of_the_rows():
    table = _table(
        [
            ("p2", "c", "2.nii", "m2.nii", 1.0),
            ("p1", "b", "1.nii", "m1.nii", 1.0),
            ("p2", "a", "2.nii", "m2.nii", 2.0),
            ("p1", "d", "1.nii", "m1.nii", float("nan")),
        ]
    )
    scans = extraction.scans(table)
    assert scans == extraction.scans(table[::-1])
    assert [[one.lesion_id for one in scan.lesions] for scan in scans] == [["a", "c"], ["b", "d"]]
    assert [one.mask_label for one in scans[1].lesions] == [1, None]


def test_a_scan_is_read_once_for_all_its_lesions(scan, monkeypatch):
    reads = []
    read = ct.read
    monkeypatch.setattr(ct, "read", lambda path: reads.append(path) or read(path))
    assert len(CUT(scan)) == 2
    assert reads == [scan.image]


def test_what_was_noted_of_a_scan_is_said_once_all_are_cut(scan, capsys):
    image = volume.read_image(scan.image)
    image.array[:, :5] = -2000
    volume.write(scan.image, image)
    assert len(list(extraction.extract(CUT, [scan] * 5, workers=1))) == 10
    said = capsys.readouterr().err.splitlines()
    assert said == 3 * [
        "scan of lesion p1-a: 3,200 voxels of padding (-2000 HU) are treated as air."
    ] + ["… and 2 more notes"]


def test_several_numbers_that_count_as_one_lesion_are_said(scan, capsys):
    whole = dataclasses.replace(scan.lesions[0], mask_label=None)
    both = dataclasses.replace(scan, lesions=(whole, scan.lesions[1]))
    assert len(list(extraction.extract(CUT, [both], workers=1))) == 2
    assert capsys.readouterr().err.splitlines() == [
        "lesion p1-a: the mask has 2 numbers, which are taken for one region. If they are several "
        "lesions, give each a row with its mask_label."
    ]


def test_which_part_of_a_dicom_acquisition_was_read_is_said(scan, tmp_path):
    slices = dicom_files.make_slices(volume.read_image(scan.image))
    rest = uid.generate_uid()
    for one in slices[14:]:
        one.SeriesInstanceUID, one.SeriesNumber = rest, 2
    cut = dataclasses.replace(scan, image=str(dicom_files.save_slices(slices, tmp_path / "cut")))
    image = volume.read_image(cut.image)
    numbers = volume.read_image(scan.lesions[0].mask).array[:14]
    mask = str(tmp_path / "part.nii.gz")
    volume.write(mask, volume.Volume(numbers, image.affine))
    cut = dataclasses.replace(cut, lesions=(dataclasses.replace(scan.lesions[0], mask=mask),))
    (part,) = patches.parts([cut], whole := patches.PatchParams(lesion_share=1.0))
    for made in (CUT(cut), patches.cut(part, whole)):
        record, note = made
        assert isinstance(record, dict)
        assert note.startswith(
            "scan of lesion p1-a: The acquisition seems to be cut: without a gap"
        )
        assert "goes on in series 2 (2 axial CT slices), which was not read" in note
    whole_series = dicom_files.make_slices(volume.read_image(scan.image))
    plain = str(dicom_files.save_slices(whole_series, tmp_path / "plain"))
    assert len(CUT(dataclasses.replace(scan, image=plain))) == 2  # and no note


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_lesions_of_other_formats_are_the_same(scan, tmp_path, name):
    simpleitk.WriteImage(simpleitk.ReadImage(scan.image), tmp_path / name)
    other = dataclasses.replace(scan, image=str(tmp_path / name))
    for found, expected in zip(CUT(other), CUT(scan), strict=True):
        assert found["lesion_id"] == expected["lesion_id"]
        np.testing.assert_array_equal(found["image"], expected["image"])
        np.testing.assert_array_equal(found["mask"], expected["mask"])


def test_all_bad_lesions_are_named_with_their_files(scan, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes((tmp_path / "ct.nii.gz").read_bytes()[:200])
    no_label = dataclasses.replace(scan.lesions[0], lesion_id="p1-x", mask_label=7)
    no_mask = dataclasses.replace(scan.lesions[0], lesion_id="p1-y", mask=str(tmp_path / "no.nii"))
    scans = [
        extraction.Scan(str(broken), (dataclasses.replace(scan.lesions[0], lesion_id="p0-a"),)),
        dataclasses.replace(scan, lesions=(*scan.lesions, no_label, no_mask)),
    ]
    with pytest.raises(InputError) as caught:
        list(extraction.extract(CUT, scans))
    first, *rest = str(caught.value).split("\n")
    assert first == "3 lesions cannot be used:"
    for line, words in zip(
        rest,
        [("p0-a", "broken.nii.gz"), ("p1-x", "mask.nii.gz", "label 7"), ("p1-y", "no.nii")],
        strict=True,
    ):
        assert all(word in line for word in words), line


def test_a_long_list_of_bad_lesions_is_cut(scan):
    missing = extraction.Scan("/nowhere/ct.nii", scan.lesions * 40)
    with pytest.raises(InputError) as caught:
        list(extraction.extract(CUT, [missing]))
    assert len(str(caught.value).split("\n")) == 52
    assert str(caught.value).endswith("… and 30 more")


def test_whole_scans_have_their_lungs_and_those_without_a_lesion_come_last():
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label", "lungs", "box_mm"]
    nan = float("nan")
    rows = [
        ("p3", nan, "h2.nii", nan, nan, nan, nan),
        ("p2", "b", "2.nii", "m2.nii", 1.0, "l2.nii", nan),
        ("p2", "c", "2.nii", nan, nan, "l2.nii", "0 1 0 1 0 1"),
        ("p3", nan, "h1.nii", nan, nan, "l3.nii", nan),
        ("p1", "a", "1.nii", "m1.nii", 1.0, nan, nan),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(ignore=[nan] * 4 + ["i1.nii"], view=["scan"] * 4 + ["cube"])
    scans = extraction.scans(table, whole=True)
    assert scans == extraction.scans(table[::-1], whole=True)
    told = [(one.image, one.lungs, one.patient_id, one.name, len(one)) for one in scans]
    assert told == [
        ("1.nii", "", "p1", "a", 1),
        ("2.nii", "l2.nii", "p2", "b", 1),
        ("h1.nii", "l3.nii", "p3", "p3-healthy0", 0),
        ("h2.nii", "", "p3", "p3-healthy1", 0),
    ]
    assert [one.image for one in extraction.scans(table)] == ["1.nii", "2.nii"]
    assert not any(one.lungs for one in extraction.scans(table))
    assert [one.boxes_mm for one in scans] == [(), ("0 1 0 1 0 1",), (), ()]
    assert [(one.ignore, one.is_cube) for one in scans[:2]] == [("i1.nii", True), ("", False)]

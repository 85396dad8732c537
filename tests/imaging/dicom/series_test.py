"""The series that was asked for is read, or the largest axial one, and it is said which."""

import shutil

import numpy as np
import pydicom
import pytest
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume
from dtc_jax.imaging.volume import Volume


def _part(ct, slices, hu=0):
    return Volume(ct.array[:slices] + np.int16(hu), ct.affine)


def _other(sop_class, **values):
    """A DICOM object of another kind."""
    one = pydicom.Dataset()
    one.SOPClassUID, one.SOPInstanceUID = sop_class, uid.generate_uid()
    one.SeriesInstanceUID = uid.generate_uid()
    for keyword, value in values.items():
        setattr(one, keyword, value)
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return one


OTHERS = {
    "MR Image": uid.MRImageStorage,
    "Secondary Capture Image": uid.SecondaryCaptureImageStorage,
    "Segmentation": uid.SegmentationStorage,
    "Positron Emission Tomography Image": uid.PositronEmissionTomographyImageStorage,
    "private object": "1.2.3.4.5.6",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_folder_without_ct_says_what_it_holds(tmp_path, save, kind):
    save([_other(OTHERS[kind]), _other(OTHERS[kind])], tmp_path)
    with pytest.raises(InputError, match=f"contains no CT series, but 2 × {kind}; give the folder"):
        volume.read_image(tmp_path)


def test_localizers_alone_are_no_scan(tmp_path, ct, make, save):
    save(make(ct, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path)
    with pytest.raises(InputError, match="contains no CT series, but 8 × localizer"):
        volume.read_image(tmp_path)


def test_localizers_within_the_series_are_left_out(tmp_path, ct, make, save):
    scouts = make(ct, "LIP", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    slices = make(ct)
    for one in scouts:
        one.SeriesInstanceUID = slices[0].SeriesInstanceUID
    found = dicom.find(save(slices + scouts[:2], tmp_path))
    assert len(found.slices) == 8
    assert found.statement == (
        "series 1: 8 axial CT slices every 2.50 mm; the only CT series. Ignored: 2 × localizer."
    )


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"none"}, {".hidden": b"", "a.jpg": b"x"}])
def test_a_folder_of_something_else_is_named(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    there = "1 × file that is not DICOM" if content else "no file at all"
    with pytest.raises(InputError, match=f"contains no CT series, but {there}"):
        volume.read_image(tmp_path)


def test_the_largest_axial_series_is_read(tmp_path, ct, make, save):
    save(make(_part(ct, 4, 1), series=1), tmp_path / "a")
    save(make(ct, series=2), tmp_path / "b")
    save(make(ct, "LIP", series=3), tmp_path / "c")  # 33 slices, coronal
    save([_other(uid.MRImageStorage)], tmp_path / "d")
    (tmp_path / "README.txt").write_text("none")
    found = dicom.find(tmp_path)
    assert found.statement == (
        "series 2: 8 axial CT slices every 2.50 mm; the largest of 2 axial CT series. Ignored: "
        "series 1 (4 axial CT slices), series 3 (33 coronal CT slices), 1 × MR Image, "
        "1 × file that is not DICOM. The folder contains 3 studies."
    )
    np.testing.assert_array_equal(volume.read_image(tmp_path).array, ct.array)


def test_a_series_of_the_chest_goes_before_a_larger_one(tmp_path, ct, make, save):
    save(make(_part(ct, 4), series=5, BodyPartExamined="CHEST"), tmp_path / "a")
    save(make(ct, series=6, BodyPartExamined="HEAD"), tmp_path / "b")
    found = dicom.find(tmp_path)
    assert found.statement.startswith("series 5: 4 axial CT slices of the chest every 2.50 mm;")
    assert "Ignored: series 6 (8 axial CT slices)." in found.statement


DERIVED = {
    "a thin reformat": {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR"]},
    "secondary": {"ImageType": ["ORIGINAL", "SECONDARY", "AXIAL"]},
    "said by its title": {"SeriesDescription": "Thorax 1.0 MPR axial"},
    "a MIP": {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]},
    "a MIP by its title": {"SeriesDescription": "AX_MIP_10mm"},
    "an enhanced MIP": {"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "MAX_IP"]},
}


@pytest.mark.parametrize("tags", DERIVED.values(), ids=DERIVED)
def test_an_original_series_goes_before_a_larger_derived_one(tmp_path, ct, make, save, tags):
    save(make(_part(ct, 4), series=2), tmp_path / "a")
    save(make(ct, series=3, BodyPartExamined="CHEST", **tags), tmp_path / "b")
    said = dicom.find(tmp_path).statement
    assert said.startswith(
        "series 2: 4 axial CT slices every 2.50 mm; the only original axial CT series."
    )
    kind = "projected" if "MIP" in str(tags.get("ImageType")) or "MAX" in str(tags) else "derived"
    assert f"Ignored: series 3 (8 {kind} axial CT slices of the chest)." in said
    assert "Thorax" not in said
    assert f"series 3: 8 {kind} axial CT slices" in dicom.find(tmp_path, 3).statement


def test_a_derived_series_alone_is_read_and_said_to_be_one(tmp_path, ct, make, save):
    save(make(ct, ImageType=["DERIVED", "PRIMARY", "AXIAL"]), tmp_path)
    assert dicom.find(tmp_path).statement.startswith("series 1: 8 derived axial CT slices every")


@pytest.mark.parametrize("image_type", [None, "", "ORIGINAL", ["ORIGINAL", "PRIMARY", "IMPACTED"]])
def test_an_unusual_image_type_is_no_derived_one(tmp_path, ct, make, save, image_type):
    save(make(ct, ImageType=image_type), tmp_path)
    assert dicom.find(tmp_path).statement.startswith("series 1: 8 axial CT slices")


def test_a_mip_alone_is_no_scan(tmp_path, ct, make, save):
    save(make(ct, ImageType=["DERIVED", "SECONDARY", "AXIAL", "MIP"]), tmp_path)
    with pytest.raises(InputError, match=r"no CT slices but projections .* give the folder of the"):
        dicom.find(tmp_path)


def test_of_two_as_large_the_first_number_is_read(tmp_path, ct, make, save):
    save(make(ct, series=9), tmp_path / "a")
    save(make(ct, series=4), tmp_path / "b")
    assert dicom.find(tmp_path).statement.startswith("series 4:")


@pytest.mark.parametrize("by", ["number", "text", "uid"])
def test_the_series_asked_for_is_read(tmp_path, ct, make, save, by):
    small = make(_part(ct, 4, 1), series=1)
    save(small, tmp_path / "a")
    save(make(ct, series=2), tmp_path / "b")
    asked = {"number": 1, "text": "1", "uid": small[0].SeriesInstanceUID}[by]
    assert "4 axial CT slices every 2.50 mm; as requested" in dicom.find(tmp_path, asked).statement
    np.testing.assert_array_equal(volume.read_image(tmp_path, asked).array, ct.array[:4] + 1)


def test_a_series_that_is_not_there_is_named_with_those_that_are(tmp_path, ct, make, save):
    save(make(ct, series=2), tmp_path)
    message = "there is no such series; it contains series 2: 8 axial CT slices"
    with pytest.raises(InputError, match=message):
        dicom.find(tmp_path, 7)


def test_a_number_that_two_series_have_is_refused(tmp_path, ct, make, save):
    save(make(ct, series=2), tmp_path / "a")
    save(make(ct, series=2), tmp_path / "b")
    with pytest.raises(InputError, match="2 series have the number 2; give the SeriesInstanceUID"):
        dicom.find(tmp_path, 2)


def test_a_series_without_a_number_is_read(tmp_path, ct, make, save):
    found = dicom.find(save(make(ct, SeriesNumber=None), tmp_path))
    assert found.statement.startswith("a series without number: 8 axial")


def test_two_patients_are_never_chosen_between(tmp_path, ct, make, save):
    save(make(ct, series=1), tmp_path / "a")
    save(make(_part(ct, 4), series=2, PatientID="8"), tmp_path / "b")
    with pytest.raises(
        InputError, match="CT series of 2 patients; put each patient in a separate folder"
    ):
        dicom.find(tmp_path)
    assert len(dicom.find(tmp_path, 2).slices) == 4


def test_no_axial_series_is_chosen_by_itself(tmp_path, ct, make, save):
    save(make(ct, "LIP", series=3), tmp_path)
    with pytest.raises(InputError, match="no axial CT series, but series 3: 33 coronal CT slices"):
        dicom.find(tmp_path)
    assert len(dicom.find(tmp_path, 3).slices) == 33


def test_a_multi_frame_secondary_capture_is_no_ct(tmp_path, ct, make, enhance):
    one = enhance(make(ct))
    one.SOPClassUID = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    one.save_as(tmp_path / "screen.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="1 × Multi-frame Grayscale Word Secondary Capture Image"):
        dicom.find(tmp_path)


def test_a_dicomdir_is_passed_over(tmp_path, ct, make, save):
    save(make(ct), tmp_path)
    shutil.copy(pydicom.data.get_testdata_file("DICOMDIR"), tmp_path)
    assert "1 × Media Storage Directory" in dicom.find(tmp_path).statement


def test_slices_that_were_left_out_evenly_are_said(tmp_path, ct, make, save):
    found = dicom.find(save(make(ct)[::2], tmp_path))
    said = found.statement
    assert said.endswith(f"the only CT series. {found.unusual}")
    assert "every 5.00 mm; the only CT series. Its instance numbers go from 1 to 7, and 3" in said
    assert said.endswith("Its slices are 2.5 mm thick: what lies between them is not shown.")


def test_numbers_that_begin_late_are_nothing_to_say(tmp_path, ct, make, save):
    found = dicom.find(save(make(ct)[3:], tmp_path))
    assert found.unusual == ""
    assert found.statement == "series 1: 5 axial CT slices every 2.50 mm; the only CT series."

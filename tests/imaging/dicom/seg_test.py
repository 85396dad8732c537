"""A DICOM SEG holds each lesion at its place in mm, as another library reads it back."""

import os
import pathlib
import shutil
import subprocess
import sys

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume
from dtc_jax.imaging.dicom import seg
from dtc_jax.imaging.volume import Volume

ORIGIN = seg.Origin("SE V-Net", "0.1.0, weights 1a2b3c")
AXES = ["LPS", "RAI", "LIP"]
NUMBERS = (2, 3, 7)


def _lesions(scan):
    array = np.zeros(scan.shape, np.uint8)
    array[1:3, 4:9, 3:5] = 2
    array[2:6, 20:22, 30:36] = 3
    array[7, 32, 0] = 7
    return Volume(array, scan.affine)


def _points_mm(mask, number):
    """World coordinates of a lesion's voxels, sorted."""
    return _sorted(mask.world(np.argwhere(mask.array == number)))


def _sorted(points):
    points = np.round(points, 3)
    return points[np.lexsort(points.T)]


def _read(path):
    """For each segment its label and the RAS coordinates of its voxels, by highdicom."""
    found = hd.seg.segread(path)
    labels = found.get_volume(combine_segments=True)
    for number in found.segment_numbers:
        points = labels.map_indices_to_reference(np.argwhere(labels.array == number))
        label = found.get_segment_description(number).segment_label
        yield label, _sorted(points * [-1, -1, 1])  # LPS to RAS


@pytest.mark.parametrize("axes", AXES)
def test_every_lesion_opens_at_its_place(tmp_path, placed, make, save, axes):
    folder = save(make(placed, axes), tmp_path / "ct")
    lesions = _lesions(volume.read_image(folder, 1))
    seg.write_seg(tmp_path / "lesions.dcm", lesions, dicom.find(folder, 1), ORIGIN)
    found = list(_read(tmp_path / "lesions.dcm"))
    assert [label for label, _ in found] == ["Lesion 2", "Lesion 3", "Lesion 7"]
    for (_, points), number in zip(found, NUMBERS, strict=True):
        np.testing.assert_allclose(points, _points_mm(lesions, number), atol=2e-3)


@pytest.mark.extras
@pytest.mark.parametrize("axes", AXES)
def test_every_lesion_opens_at_its_place_in_dcmqi(tmp_path, placed, make, save, axes):
    """By dcmqi 3D Slicer reads a segmentation; it gives each segment in a file of its own."""
    program = pathlib.Path(sys.executable).parent / "segimage2itkimage"
    if not program.is_file():
        pytest.skip("dcmqi is not installed")
    folder = save(make(placed, axes), tmp_path / "ct")
    lesions = _lesions(volume.read_image(folder, 1))
    seg.write_seg(tmp_path / "lesions.dcm", lesions, dicom.find(folder, 1), ORIGIN)
    given = ("--inputDICOM", tmp_path / "lesions.dcm", "--outputDirectory", tmp_path)
    subprocess.run([program, *given, "--outputType", "nii"], check=True, capture_output=True)
    found = sorted(tmp_path.glob("*.nii.gz"))
    assert [path.name for path in found] == ["1.nii.gz", "2.nii.gz", "3.nii.gz"]
    for path, number in zip(found, NUMBERS, strict=True):
        image = nib.load(path)
        voxels = np.argwhere(np.asarray(image.dataobj) > 0)
        points = _sorted(nib.affines.apply_affine(image.affine, voxels))
        np.testing.assert_allclose(points, _points_mm(lesions, number), atol=2e-3)


def test_an_enhanced_ct_is_referred_to_by_frame(tmp_path, placed, make, enhance):
    (tmp_path / "ct").mkdir()
    one = enhance(make(placed)[::-1])
    one.save_as(tmp_path / "ct" / "enhanced.dcm", enforce_file_format=True)
    lesions = _lesions(placed)
    seg.write_seg(tmp_path / "lesions.dcm", lesions, dicom.find(tmp_path / "ct"), ORIGIN)
    for (_, points), number in zip(_read(tmp_path / "lesions.dcm"), NUMBERS, strict=True):
        np.testing.assert_allclose(points, _points_mm(lesions, number), atol=2e-3)
    uids = hd.seg.segread(tmp_path / "lesions.dcm").get_source_image_uids()
    assert {image for _, _, image in uids} == {one.SOPInstanceUID}


@pytest.mark.parametrize("thickness", [None, "", "0"])
def test_a_series_without_slice_thickness_is_referred_to(tmp_path, placed, make, save, thickness):
    folder = save(make(placed, SliceThickness=thickness), tmp_path / "ct")
    lesions = _lesions(placed)
    seg.write_seg(tmp_path / "lesions.dcm", lesions, dicom.find(folder), ORIGIN)
    for (_, points), number in zip(_read(tmp_path / "lesions.dcm"), NUMBERS, strict=True):
        np.testing.assert_allclose(points, _points_mm(lesions, number), atol=2e-3)
    (shared,) = pydicom.dcmread(tmp_path / "lesions.dcm").SharedFunctionalGroupsSequence
    step_mm = placed.spacing_mm[0]
    assert shared.PixelMeasuresSequence[0].SliceThickness == pytest.approx(step_mm, abs=1e-4)


def test_each_frame_refers_to_its_slice(tmp_path, ct, make, save):
    slices = make(ct)
    folder = save(slices[::-1], tmp_path / "ct")
    seg.write_seg(tmp_path / "lesions.dcm", _lesions(ct), dicom.find(folder), ORIGIN)
    found = pydicom.dcmread(tmp_path / "lesions.dcm")
    assert found.StudyInstanceUID == slices[0].StudyInstanceUID
    assert found.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    (referred,) = found.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == slices[0].SeriesInstanceUID
    position = {one.SOPInstanceUID: one.ImagePositionPatient for one in slices}
    assert len(found.PerFrameFunctionalGroupsSequence) == 2 + 4 + 1  # empty ones are left out
    for frame in found.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(
            np.array(place, float),
            np.array(position[image.ReferencedSOPInstanceUID], float),
            atol=1e-4,
        )


def test_it_says_what_it_is(tmp_path, ct, make, save):
    folder = save(make(ct), tmp_path / "ct")
    reviewed = seg.Origin("SE V-Net", "0.1.0", reviewed=True)
    for origin, kind in ((ORIGIN, "AUTOMATIC"), (reviewed, "SEMIAUTOMATIC")):
        seg.write_seg(tmp_path / "lesions.dcm", _lesions(ct), dicom.find(folder), origin)
        found = pydicom.dcmread(tmp_path / "lesions.dcm")
        for text in (found.SeriesDescription, found.ContentDescription):
            assert "For research use only" in text
        assert found.SoftwareVersions == origin.version
        assert {one.SegmentAlgorithmType for one in found.SegmentSequence} == {kind}


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("keep_identity", [False, True])
@pytest.mark.parametrize("axes", AXES)
def test_it_is_valid_dicom(tmp_path, placed, make, save, axes, keep_identity):
    folder = save(make(placed, axes), tmp_path / "ct")
    path = tmp_path / "lesions.dcm"
    lesions = _lesions(volume.read_image(folder, 1))
    source = dicom.find(folder, 1)
    seg.write_seg(path, lesions, source, ORIGIN, patient_id="P07", keep_identity=keep_identity)
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    assert "Segmentation" in done.stderr.splitlines()
    assert "Error" not in done.stderr, done.stderr


def test_the_identity_is_kept_where_it_is_asked_for(tmp_path, ct, make, save):
    folder = save(
        make(
            ct,
            PatientName="Müller^Eva",
            PatientBirthDate="19500102",
            PatientSex="F",
            SpecificCharacterSet="ISO_IR 100",
            StudyDate="20200304",
            AccessionNumber="A1",
        ),
        tmp_path / "ct",
    )
    source = dicom.find(folder)
    seg.write_seg(tmp_path / "a.dcm", _lesions(ct), source, ORIGIN, keep_identity=True)
    found = pydicom.dcmread(tmp_path / "a.dcm")
    assert (found.PatientName, found.PatientID) == ("Müller^Eva", "7")
    assert (found.PatientBirthDate, found.PatientSex) == ("19500102", "F")
    assert (found.StudyDate, found.AccessionNumber) == ("20200304", "A1")
    assert "PatientIdentityRemoved" not in found

    seg.write_seg(tmp_path / "b.dcm", _lesions(ct), source, ORIGIN, patient_id="Ö-7")
    found = pydicom.dcmread(tmp_path / "b.dcm")
    assert (found.PatientName, found.PatientID) == ("Ö-7", "Ö-7")
    assert (found.PatientBirthDate, found.PatientSex, found.StudyDate) == ("", "", "")
    assert found.PatientIdentityRemoved == "YES"


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("GB18030", "王^小东"),
        (None, "Yamada^Tarou"),
    ],
)
def test_a_name_is_kept_in_whatever_characters_it_is(tmp_path, ct, make, save, characters, name):
    slices = make(ct)
    for one in slices:
        if characters:
            one.SpecificCharacterSet = characters
        one.PatientName = one.ReferringPhysicianName = name
        one.StudyDescription = name.split("^")[-1]
    source = dicom.find(save(slices, tmp_path / "ct"))
    seg.write_seg(tmp_path / "a.dcm", _lesions(ct), source, ORIGIN, keep_identity=True)
    found = pydicom.dcmread(tmp_path / "a.dcm")
    assert found.PatientName == found.ReferringPhysicianName == name
    assert found.StudyDescription == name.split("^")[-1]
    assert found.get("SpecificCharacterSet") == ("ISO_IR 192" if characters else None)


def test_what_cannot_be_written_is_refused(tmp_path, ct, make, save):
    source = dicom.find(save(make(ct), tmp_path / "ct"))
    path, good = tmp_path / "lesions.dcm", _lesions(ct)
    moved = Volume(good.array, good.affine.copy())
    moved.affine[:3, 3] += 0.5
    for lesions, patient_id, message in (
        (Volume(good.array * 0, good.affine), "", "there is no lesion; a DICOM SEG"),
        (Volume(good.array[1:], good.affine), "", r"the mask has \(7, 33, 36\) voxels"),
        (moved, "", "the mask is 0.50 mm away"),
        (good, "a\\b", "the patient id must have at most 64 characters"),
        (good, "x" * 65, "the patient id must have"),
    ):
        with pytest.raises(InputError, match=message):
            seg.write_seg(path, lesions, source, ORIGIN, patient_id=patient_id)
        assert not path.exists()


@pytest.mark.parametrize("name", ["1.2.3.4", ""])
def test_images_without_identifiers_of_their_own_are_not_referred_to(tmp_path, ct, make, name):
    for number, one in enumerate(make(ct, SOPInstanceUID=name)):
        one.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        one.save_as(tmp_path / f"IM{number}", enforce_file_format=True)
    path = tmp_path / "lesions.dcm"
    with pytest.raises(InputError, match=r"8 images of the series have [01] identifiers in all"):
        seg.write_seg(path, _lesions(ct), dicom.find(tmp_path), ORIGIN)
    assert not path.exists()


def test_an_invalid_identity_is_not_copied(tmp_path, ct, make, save):
    source = dicom.find(save(make(ct, PatientSex="FEMALE"), tmp_path / "ct"))
    with pytest.raises(InputError, match="identity in the header of the series is not valid"):
        seg.write_seg(tmp_path / "a.dcm", _lesions(ct), source, ORIGIN, keep_identity=True)
    seg.write_seg(tmp_path / "a.dcm", _lesions(ct), source, ORIGIN)


def test_a_mask_without_numbers_is_one_lesion(tmp_path, ct, make, save):
    source = dicom.find(save(make(ct), tmp_path / "ct"))
    mask = Volume(_lesions(ct).array > 0, ct.affine)
    seg.write_seg(tmp_path / "a.dcm", mask, source, ORIGIN)
    ((label, points),) = _read(tmp_path / "a.dcm")
    assert label == "Lesion 1"
    np.testing.assert_allclose(points, _points_mm(mask, True), atol=2e-3)


@pytest.mark.skipif("DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder")
def test_a_real_nodule_opens_at_its_place(tmp_path, make, save):
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_ct")
    scan = volume.read_image(folder / "LIDC-IDRI-0001_ct.nii.gz")
    nodule = volume.read_mask(folder / "LIDC-IDRI-0001_nodules.nii.gz", scan)
    source = dicom.find(save(make(scan), tmp_path / "ct"))
    seg.write_seg(tmp_path / "a.dcm", nodule, source, ORIGIN)
    ((_, points),) = _read(tmp_path / "a.dcm")
    np.testing.assert_allclose(points, _points_mm(nodule, True), atol=2e-3)


def test_a_missing_library_names_the_extra(tmp_path, ct, make, save, monkeypatch):
    source = dicom.find(save(make(ct), tmp_path / "ct"))
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install 'dtc-jax\[dicom\]'"):
        seg.write_seg(tmp_path / "lesions.dcm", _lesions(ct), source, ORIGIN)


def test_lesions_that_a_person_has_outlined_are_no_networks(tmp_path, ct, make, save):
    source = dicom.find(save(make(ct), tmp_path / "ct"))
    by_hand = seg.Origin("dtc-jax", "1", manual=True)
    seg.write_seg(tmp_path / "a.dcm", _lesions(ct), source, by_hand)
    for one in pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence:
        assert one.SegmentAlgorithmType == "MANUAL"
        assert "SegmentAlgorithmName" not in one

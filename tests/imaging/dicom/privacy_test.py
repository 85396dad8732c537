"""What a header says of a patient reaches no message, no statement, no log and no file."""

import logging
import warnings

import numpy as np
import pydicom
import pytest
from pydicom import uid

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume
from dtc_jax.imaging.dicom import seg
from dtc_jax.imaging.volume import Volume
from tests.dicom_files import change_one
from tests.planted import DATE, NAME, REFERENCE, SECRETS, UID, make_plants


@pytest.fixture(scope="module")
def plants():
    return make_plants()


@pytest.fixture
def planted(ct, make, plants):
    slices = make(Volume(ct.array[:5], ct.affine))
    for one in slices:
        one.update(plants)
    return slices


@pytest.fixture
def store(tmp_path, save):
    """Writes slices under names that give the patient away."""

    def write(slices, folder="ct"):
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            return save(slices, tmp_path / folder, NAME + "_1941_{:03d}.dcm")

    return write


def _lesions(scan):
    return Volume((scan.array > 300).astype(np.uint8), scan.affine)


def _leaks(text, secrets=SECRETS):
    data = text if isinstance(text, bytes) else str(text).encode()
    return [secret for secret in secrets if secret.encode() in data]


def test_the_plants_are_there(store, planted):
    found = pydicom.dcmread(next(store(planted).iterdir()))
    assert len(found) > 1000
    assert found.PatientName == found.SeriesDescription == found.BodyPartExamined == NAME


def test_nothing_leaks_from_a_good_series(tmp_path, store, planted, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    folder = store(planted)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        scan = volume.read_image(folder)
        source = dicom.find(folder)
        origin = seg.Origin("SE V-Net", "0.1.0")
        out = tmp_path / "out"
        seg.write_seg(out / "lesions.dcm", _lesions(scan), source, origin, patient_id="P7")
        volume.write(out / "scan.nii", scan)
        volume.write(out / "lesions.nii", _lesions(scan))
    uids = [planted[0][keyword].value for keyword in sorted(REFERENCE)]
    for text in (source.statement, repr(source), caplog.text, *capfd.readouterr(), warned):
        assert not _leaks(text, (*SECRETS, *uids))
    names = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(names) == {"lesions.dcm", "scan.nii", "lesions.nii"}
    for name, data in names.items():
        assert not _leaks(data), name
    assert not _leaks(names["scan.nii"] + names["lesions.nii"], uids)
    assert _leaks(names["lesions.dcm"], uids) == uids  # the reference, and a search that finds


def test_the_identity_is_in_a_dicom_seg_only_where_it_is_asked_for(tmp_path, store, planted):
    folder = store(planted)
    origin = seg.Origin("SE V-Net", "0.1.0")
    lesions, path = _lesions(volume.read_image(folder)), tmp_path / "lesions.dcm"
    seg.write_seg(path, lesions, dicom.find(folder), origin, keep_identity=True)
    assert _leaks(path.read_bytes(), [NAME, DATE]) == [NAME, DATE]
    assert pydicom.dcmread(path).get("InstitutionName") is None


def _spoiled(slices):
    """Series that are refused, by what is wrong with them."""

    def without(keyword):
        delattr(slices[3], keyword)
        return slices

    def twice():
        slices[3].ImagePositionPatient = slices[4].ImagePositionPatient
        return slices

    def text_for_a_number():
        for one in slices:
            one.add_new("RescaleSlope", "LO", NAME)
            one.add_new("SeriesNumber", "LO", NAME)
            one.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian  # forgets LO
        return slices

    return {
        "gap": lambda: slices[:3] + slices[4:],
        "copy": twice,
        "no rescale": lambda: without("RescaleIntercept"),
        "no position": lambda: without("ImagePositionPatient"),
        "colour": lambda: change_one(slices, SamplesPerPixel=3),
        "units": lambda: change_one(slices, RescaleType=NAME),
        "size": lambda: change_one(slices, Rows=7),
        "short pixels": lambda: change_one(slices, PixelData=b"1234"),
        "text for a number": text_for_a_number,
        "patients": lambda: change_one(
            slices, PatientID=f"{NAME}2", SeriesInstanceUID=uid.generate_uid()
        ),
        "MR": lambda: [_mr(one) for one in slices],
        "private": lambda: [_mr(one, UID) for one in slices],
        "localizer": lambda: [_localizer(one) for one in slices],
    }


def _mr(one, kind=uid.MRImageStorage):
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = kind
    return one


def _localizer(one):
    one.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER", NAME]
    return one


@pytest.mark.parametrize("fault", _spoiled([]))
def test_nothing_leaks_from_a_bad_series(store, planted, fault, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    uids = [planted[0][keyword].value for keyword in sorted(REFERENCE)]
    folder = store(_spoiled(planted)[fault]())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for asked in (None, NAME):
            with pytest.raises(InputError) as caught:
                volume.read_image(folder, series=asked)
            assert str(folder) in str(caught.value)
            assert not _leaks(caught.value, (*SECRETS, *uids))
    for text in (caplog.text, *capfd.readouterr(), warned):
        assert not _leaks(text, (*SECRETS, *uids))


def test_nothing_leaks_from_damaged_files(store, planted):
    folder = store(planted)
    for file in folder.iterdir():
        whole = file.read_bytes()
        for size in (0, 140, 400, len(whole) // 2, len(whole) - 50):
            file.write_bytes(whole[:size])
            with pytest.raises(InputError) as caught:
                volume.read_image(folder)
            assert not _leaks(caught.value)
        file.write_bytes(whole)
        break

"""A slice without what makes it a slice in HU is refused, by the name of what it lacks."""

import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume

LACKING = {
    "RescaleIntercept": None,
    "RescaleSlope": None,
    "PixelSpacing": None,
    "ImagePositionPatient": None,
    "ImageOrientationPatient": None,
}
WRONG = [
    ("RescaleSlope", 0, "no valid RescaleSlope"),
    ("RescaleSlope", "", "no valid RescaleSlope"),
    ("RescaleIntercept", "", "no valid RescaleIntercept"),
    ("PixelSpacing", ["0.7", "0"], "no valid PixelSpacing"),
    ("PixelSpacing", ["0.7", "-0.7"], "no valid PixelSpacing"),
    ("ImagePositionPatient", ["1", "2"], "no valid ImagePositionPatient"),
    ("ImageOrientationPatient", list("100100"), "no valid ImageOrientationPatient"),
    ("RescaleType", "EDW", "is not in HU"),
    ("SamplesPerPixel", 3, "colour images"),
]


@pytest.mark.parametrize("keyword", LACKING)
def test_a_series_that_lacks_an_attribute_is_refused(tmp_path, ct, make, save, keyword):
    folder = save(make(ct, **{keyword: None}), tmp_path)
    with pytest.raises(InputError, match=f"no valid {keyword}; export the original CT series"):
        volume.read_image(folder, series=1)


@pytest.mark.parametrize("keyword", LACKING)
def test_one_slice_that_lacks_an_attribute_is_enough(tmp_path, ct, make, save, keyword):
    slices = make(ct)
    delattr(slices[5], keyword)
    with pytest.raises(InputError, match=f"no valid {keyword}"):
        volume.read_image(save(slices, tmp_path))


@pytest.mark.parametrize(("keyword", "value", "message"), WRONG)
def test_a_wrong_value_is_refused(tmp_path, ct, make, save, keyword, value, message):
    slices = make(ct)
    setattr(slices[5], keyword, value)
    with pytest.raises(InputError, match=message):
        volume.read_image(save(slices, tmp_path))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\x20\x00\x37\x00DS", b"\x20\x00\x37\x00Ds"),  # a VR that is none
        (b"\x28\x00\x11\x00US\x02\x00\x24\x00", b"\x28\x00\x11\x00US\x04\x00\x24\x00\x24\x00"),
    ],
    ids=["representation", "two values"],
)
def test_a_damaged_byte_of_one_header_is_said_to_be(tmp_path, ct, make, save, before, after):
    file = save(make(ct), tmp_path) / "IM0002.dcm"
    data = file.read_bytes()
    assert data.count(before) == 1
    file.write_bytes(data.replace(before, after))
    with pytest.raises(InputError, match=r"1 of 8 files cannot be read .* number 3 when sorted"):
        volume.read_image(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "kind", "value"),
    [("ImageType", "US", [1, 2, 3]), ("PerFrameFunctionalGroupsSequence", "LO", "none")],
)
def test_a_value_of_another_kind_is_refused(tmp_path, ct, make, enhance, keyword, kind, value):
    one = enhance(make(ct))
    del one[keyword]
    one.add_new(keyword, kind, value)
    one.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="a header has values that DICOM does not allow"):
        volume.read_image(tmp_path)


def test_an_enhanced_ct_without_a_rescale_is_refused(tmp_path, ct, make, enhance):
    one = enhance(make(ct))
    del one.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    one.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="no valid RescaleSlope"):
        dicom.find(tmp_path)


def test_an_enhanced_ct_with_fewer_groups_than_frames_is_refused(tmp_path, ct, make, enhance):
    one = enhance(make(ct))
    del one.PerFrameFunctionalGroupsSequence[-1]
    one.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="no valid ImagePositionPatient"):
        dicom.find(tmp_path)

"""The numbers of slices are those of the scan's own files."""

import nibabel as nib
import numpy as np
import pytest

from dtc_jax.imaging import dicom, numbering, volume
from dtc_jax.imaging.volume import Volume
from tests.dicom_files import enhance_slices, make_slices, save_slices

BOX = (slice(1, 4), slice(0, 2), slice(3, 5))  # its middle is at 2, 0, 3


@pytest.fixture(scope="module")
def scan() -> Volume:
    hu = np.random.default_rng(0).integers(-1000, 200, (7, 6, 5)).astype(np.int16)
    return Volume(hu, np.diag([2.0, 0.7, 0.8, 1])[[2, 1, 0, 3]])


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LPI", "SAR", "ARI"])
def test_a_file_is_counted_as_it_is_stored(scan, axes, tmp_path):
    volume.write(tmp_path / "scan.nii.gz", scan, axes=axes)
    read = volume.read_image(tmp_path / "scan.nii.gz")
    number = numbering.slices(read, None).of(BOX)
    stored = nib.load(tmp_path / "scan.nii.gz").get_fdata()
    axis = next(i for i, letter in enumerate(axes) if letter in "SI")
    plane = np.take(stored, number - 1, axis=axis)
    assert sorted(plane.ravel()) == sorted(scan.array[2].ravel())


@pytest.mark.parametrize(("axes", "place"), [("LPS", 2), ("LPI", 2), ("PIL", 3), ("PIR", 3)])
def test_a_series_has_its_instance_numbers(scan, axes, place, tmp_path):
    slices = make_slices(scan, axes)
    for at, one in enumerate(slices):
        one.InstanceNumber = 90 - 3 * at
    folder = save_slices(slices, tmp_path / "ct")
    series = dicom.find(folder, 1)
    found = numbering.slices(volume.read_image(folder, 1), series)
    assert found.source == "InstanceNumber"
    number = found.of(BOX)
    (shown,) = (one for one in slices if one.InstanceNumber == number)
    across = scan.array[2] if place == 2 else scan.array[:, :, 3]
    pixels = np.frombuffer(shown.PixelData, "<u2").astype(int) - 1024
    assert sorted(pixels) == sorted(across.ravel())
    assert numbering.of_record(found.record()) == found


@pytest.mark.parametrize("number", [None, 2])
def test_no_number_is_better_than_a_wrong_one(scan, number, tmp_path):
    slices = make_slices(scan)
    if number is None:
        del slices[3].InstanceNumber
    else:
        slices[3].InstanceNumber = number  # that of another slice
    series = dicom.find(save_slices(slices, tmp_path / "ct"))
    found = numbering.slices(scan, series)
    assert found.of(BOX) is None
    assert found.source.startswith("none")


def test_an_enhanced_file_has_its_frames(scan, tmp_path):
    series = dicom.find(save_slices([enhance_slices(make_slices(scan))], tmp_path / "ct"))
    found = numbering.slices(scan, series)
    assert (found.of(BOX), found.source) == (3, "number of the frame")


def test_an_older_record_has_no_numbers():
    assert numbering.of_record({}).of(BOX) is None

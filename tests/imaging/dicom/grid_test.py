"""What keeps slices from being a regular grid is found and said in mm."""

import numpy as np
import pytest
import SimpleITK as sitk

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume

_FIVE_MM = np.diag([2.0, 1, 1, 1])  # of slices every 2.5 mm


def _move(one, by_mm):
    position = np.array(one.ImagePositionPatient, float) + by_mm
    one.ImagePositionPatient = [f"{value:.6f}" for value in position]


def _across(one):
    return np.cross(*np.reshape(np.array(one.ImageOrientationPatient, float), (2, 3)))


def test_a_missing_slice_is_found(tmp_path, ct, make, save):
    slices = make(ct)
    del slices[3]  # at 12.25 + 3 × 2.5 mm
    with pytest.raises(InputError, match=r"slices are missing in 17\.25 to 22\.25 mm"):
        volume.read_image(save(slices, tmp_path))


def test_many_gaps_are_counted(tmp_path, ct, make, save):
    many = volume.Volume(np.tile(ct.array, (4, 1, 1)), ct.affine)  # 32 slices
    slices = [one for z, one in enumerate(make(many)) if z not in (3, 8, 13, 18, 23)]
    with pytest.raises(
        InputError,
        match=r"17\.25 to 22\.25, .* 42\.25 to 47\.25, and 2 more mm \(the usual .* 2\.50 mm",
    ):
        volume.read_image(save(slices, tmp_path))


def test_a_missing_slice_of_an_oblique_series_is_found(tmp_path, placed, make, save):
    slices = make(placed)
    del slices[5]
    with pytest.raises(InputError, match="slices are missing"):
        volume.read_image(save(slices, tmp_path))


def test_a_copied_slice_is_found(tmp_path, ct, make, save):
    slices = make(ct)
    slices.append(make(ct)[2])
    slices[-1].SeriesInstanceUID = slices[0].SeriesInstanceUID
    message = r"1 of 9 slices have the same position as another one \(at 17\.25 mm\)"
    with pytest.raises(InputError, match=message):
        volume.read_image(save(slices, tmp_path))


def test_two_phases_in_a_series_are_found(tmp_path, ct, make, save):
    slices = make(ct) + make(ct)
    for one in slices:
        one.SeriesInstanceUID = slices[0].SeriesInstanceUID
    message = r"8 of 16 slices have .* \(at 12\.25, 14\.75, 17\.25, … mm\).* several phases"
    with pytest.raises(InputError, match=message):
        volume.read_image(save(slices, tmp_path))


def test_uneven_slices_are_found(tmp_path, placed, make, save):
    slices = make(placed)
    _move(slices[4], 0.6 * _across(slices[4]))
    message = r"not evenly spaced: 1\.90 to 3\.10 mm, and the one at .* is 0\.5\d mm away"
    with pytest.raises(InputError, match=message):
        volume.read_image(save(slices, tmp_path))


@pytest.mark.parametrize("at", [1, 15, 29])
def test_one_step_that_is_longer_is_found_wherever_it_is(tmp_path, ct, make, save, at):
    """The line through 30 slices every 5 mm halves what a step of 5.9 mm in its middle is off."""
    thick = volume.Volume(np.tile(ct.array[:, :9, :9], (4, 1, 1))[:30], ct.affine @ _FIVE_MM)
    slices = make(thick)
    for one in slices[at:]:
        _move(one, [0, 0, 0.9])
    message = r"not evenly spaced: 5\.00 to 5\.90 mm, .* \(tolerance 0\.1 mm\)"
    with pytest.raises(InputError, match=message):
        volume.read_image(save(slices, tmp_path))


def test_a_step_that_is_longer_by_what_rounding_takes_is_no_fault(tmp_path, ct, make, save):
    slices = make(volume.Volume(ct.array, ct.affine @ _FIVE_MM))
    for one in slices[4:]:
        _move(one, [0, 0, 0.1])
    found = volume.read_image(save(slices, tmp_path))
    assert found.spacing_mm[0] == pytest.approx(5.0, abs=0.03)


def test_a_slice_shifted_to_the_side_is_found(tmp_path, placed, make, save):
    slices = make(placed)
    _move(slices[4], 0.6 * np.array(slices[4].ImageOrientationPatient[:3], float))
    with pytest.raises(InputError, match=r"is 0\.5\d mm away from a regular grid"):
        volume.read_image(save(slices, tmp_path))


@pytest.mark.parametrize("angle_deg", [-12.0, 0.5, 25.0])
def test_a_gantry_tilt_is_found(tmp_path, placed, make, save, angle_deg):
    slices = make(placed)
    for z, one in enumerate(slices):
        down = np.array(one.ImageOrientationPatient[3:], float)
        _move(one, 2.5 * z * np.tan(np.radians(angle_deg)) * down)
    with pytest.raises(InputError, match=rf"gantry tilt of {abs(angle_deg):.1f} degrees"):
        volume.read_image(save(slices, tmp_path))


def test_rounded_positions_are_no_fault(tmp_path, ct, make, save):
    thin = volume.Volume(ct.array, ct.affine @ np.diag([0.25, 1, 1, 1]))  # every 0.625 mm
    slices = make(thin)
    for one in slices:
        one.ImagePositionPatient = [f"{float(value):.1f}" for value in one.ImagePositionPatient]
    found = volume.read_image(save(slices, tmp_path))
    np.testing.assert_array_equal(found.array, thin.array)
    np.testing.assert_allclose(found.spacing_mm, thin.spacing_mm, atol=0.02)
    reader = sitk.ImageSeriesReader()  # its grid begins at the first slice, and not on the line
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    mask, path = sitk.Cast(reader.Execute() > 0, sitk.sitkUInt8), str(tmp_path.parent / "mask.nii")
    sitk.WriteImage(mask, path)
    np.testing.assert_array_equal(volume.read_mask(path, found).array, thin.array > 0)


def test_mixed_slices_are_found(tmp_path, ct, make, save):
    small = volume.Volume(ct.array[:2, :20], ct.affine)
    for odd, message in (
        (make(small), r"several sizes \(8 of 33 × 36, 2 of 20 × 36\)"),
        (make(ct, "LIP")[:2], r"several sizes"),
        (make(ct, "RPS")[:2], r"mixes orientations \(2 of 10 slices differ"),
        (make(ct, PixelSpacing=["0.9", "0.9"])[:2], r"mixes pixel spacings \(2 of 10"),
    ):
        slices = make(ct)
        for one in odd:
            one.SeriesInstanceUID = slices[0].SeriesInstanceUID
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with pytest.raises(InputError, match=message):
            volume.read_image(save(slices + odd, folder))


def test_one_slice_is_no_scan(tmp_path, ct, make, save):
    save(make(ct), tmp_path)
    with pytest.raises(InputError, match="has only one slice; give the folder with all of them"):
        dicom.find(tmp_path / "IM0000.dcm")

"""Whatever is wrong with a file is said by name; whatever is right comes through unchanged."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import formats, nifti

AFFINE = np.diag([0.7, 0.8, 1.5, 1.0])
HU = np.random.default_rng(0).integers(-1000, 400, (9, 10, 11), dtype=np.int16)


def _bytes(array=HU, affine=AFFINE, kind=nib.Nifti1Image):
    return kind(array, affine).to_bytes()


def _patched(offset, value, array=HU):
    """A file with other bytes in its header."""
    data = bytearray(_bytes(array))
    data[offset : offset + value.nbytes] = value.tobytes()
    return bytes(data)


def _sform(columns):
    return _patched(280, np.array(columns, np.float32))


def _with_qform(change, **fields):
    """A file whose qform is the changed sform."""
    image = nib.Nifti1Image(HU, AFFINE)
    image.set_qform(change @ AFFINE, code=1)
    for name, value in fields.items():
        image.header[name] = value
    return image.to_bytes()


def _moved(by_mm):
    moved = np.eye(4)
    moved[2, 3] = by_mm
    return moved


def _sheared(degrees):
    affine = AFFINE.copy()
    affine[1, 2] = AFFINE[2, 2] * np.tan(np.radians(degrees))
    return _bytes(affine=affine)


def _other_spacing():
    """As who gives the spacing apart from the affine writes it."""
    image = nib.Nifti1Image(HU, np.eye(4))
    image.header.set_zooms((5.0, 5.0, 4.0))
    return image.to_bytes()


def _without_forms():
    return _patched(252, np.zeros(2, np.int16))


def _with_unit(code, scale=1.0):
    image = nib.Nifti1Image(HU, np.diag([scale, scale, scale, 1]) @ AFFINE)
    image.header["xyzt_units"] = code
    return image.to_bytes()


def _with_nan():
    array = HU.astype(np.float32)
    array[1, 2, 3] = np.nan
    return _bytes(array)


def _rgb():
    return _bytes(np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))


PACKED = gzip.compress(_bytes(), mtime=0)
BAD = {
    "zero_spacing": (_patched(80, np.float32(0)), "spacing \\(0, 0.8, 1.5\\) must be positive"),
    "negative_spacing": (_patched(88, np.float32(-2)), "must be positive; fix the header"),
    "nan_spacing": (_patched(88, np.float32("nan")), "must be positive"),
    "zero_affine": (_sform(np.zeros((3, 4))), "affine is singular"),
    "parallel_axes": (_sform([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]), "affine is singular"),
    "nan_affine": (_sform(np.full((3, 4), np.nan)), "affine is singular"),
    "other_spacing": (
        _other_spacing(),
        "sform has voxels of 1 × 1 × 1 mm, its pixdim of 5 × 5 × 4 mm, .* correct the wrong one",
    ),
    "other_qform": (_with_qform(_moved(0.5)), "sform and its qform disagree by up to 0.5 mm. Conv"),
    "mirrored_qform": (_with_qform(np.diag([-1, 1, 1, 1])), "and one is the mirror image of the"),
    "no_form": (_without_forms(), "neither an sform nor a qform"),
    "sheared": (_sheared(12), "gantry tilt of 12.0 degrees"),
    "microns_said_to_be_mm": (_with_unit(2, 1000), "voxels are 700 × 800 × 1.5e\\+03 mm large"),
    "mm_said_to_be_metres": (_with_unit(1), "the unit of its header is wrong"),
    "2d": (_bytes(HU[0]), "is 2-D .* stack its slices"),
    "4d": (_bytes(np.stack([HU, HU], -1)), "is 4-D .* save one of its volumes"),
    "no_voxel": (_patched(42, np.int16(-5)), "without a voxel"),
    "nan": (_with_nan(), "contains 1 voxels that are NaN"),
    "infinite": (_bytes(np.full((3, 3, 3), 1e300)), "contains 27 voxels that are NaN or infinite"),
    "colour": (_rgb(), "convert it to grey values"),
    "complex": (_bytes(HU.astype(np.complex64)), "convert it to grey values"),
    "unknown_dtype": (_patched(70, np.int16(9999)), "unknown data type 9999"),
    "claims_54_TB": (_patched(42, np.full(3, 30000, np.int16)), "2332 bytes of 54000000000352"),
    "voxels_in_header": (_patched(108, np.float32(0)), "start at byte 0, within the header"),
    "voxels_nowhere": (_patched(108, np.float32("inf")), "damaged or truncated"),
    "empty": (b"", "no NIfTI header"),
    "half_a_header": (_bytes()[:100], "no NIfTI header"),
    "half_the_voxels": (_bytes()[:1000], "damaged or truncated .*copy it again"),
    "last_byte_missing": (_bytes()[:-1], "damaged or truncated"),
    "text": (b"not a scan at all " * 50, "no NIfTI header"),
}
BAD_PACKED = {
    "half": (PACKED[: len(PACKED) // 2], "damaged or truncated"),
    "checksum_missing": (PACKED[:-4], "damaged or truncated"),
    "garbage_behind": (PACKED + b"garbage", "damaged or truncated"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_bad_content_is_named(tmp_path, data, message):
    for name, content in (("scan.nii", data), ("scan.nii.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            formats.load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(("data", "message"), BAD_PACKED.values(), ids=BAD_PACKED)
def test_gzip_damage_is_named(tmp_path, data, message):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        nifti.load(path)


@pytest.mark.parametrize(("name", "data"), [("a.nii.gz", _bytes()), ("a.nii", PACKED)])
def test_a_file_is_unpacked_by_its_content_not_its_name(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    np.testing.assert_array_equal(nifti.load(tmp_path / name)[0], HU)


@pytest.mark.parametrize("data", [
    _with_unit(3, 1e3), _with_unit(1, 1e-3), _with_unit(0), _with_unit(2), _sheared(0.05),
    _with_qform(np.eye(4)), _with_qform(_moved(0.3)),
    _with_qform(np.eye(4), pixdim=[0, 0.7, 0.8, 1.5, *[1] * 4]),
    _with_qform(np.eye(4), quatern_b=5), _with_qform(_moved(9), qform_code=0),
    _with_qform(np.eye(4), sform_code=0), _patched(88, np.float32(1.507)),
])  # fmt: skip
def test_a_place_that_the_header_states_once_is_taken_in_mm(tmp_path, data):
    (tmp_path / "scan.nii").write_bytes(data)
    _, affine, _ = formats.load(tmp_path / "scan.nii")
    np.testing.assert_allclose(affine, AFFINE, atol=2e-3)


def test_no_flipped_bit_gives_another_picture(tmp_path):
    path = tmp_path / "scan.nii.gz"
    refused = 0
    for place in np.linspace(10, len(PACKED) - 1, 80, dtype=int):
        damaged = bytearray(PACKED)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(nifti.load(path)[0], HU)
        except InputError:
            refused += 1
    assert refused >= 78  # all but, perhaps, a bit of padding between two blocks


def test_stored_numbers_are_kept(tmp_path):
    path = tmp_path / "scan.nii"
    swapped = nib.Nifti1Image(HU, AFFINE, nib.Nifti1Header(endianness=">")).to_bytes()
    second = _bytes(kind=nib.Nifti2Image)
    for data in (_bytes(), swapped, second, _bytes(HU.astype(np.float64))):
        path.write_bytes(data)
        array, affine = nifti.load(path)
        np.testing.assert_array_equal(array, HU)
        np.testing.assert_allclose(affine, AFFINE, rtol=1e-6)


def test_slope_and_intercept_are_applied(tmp_path):
    path = tmp_path / "scan.nii"
    path.write_bytes(_patched(112, np.array([2.5, -1024], np.float32)))
    array, _ = nifti.load(path)
    np.testing.assert_array_equal(array, HU * 2.5 - 1024)
    assert array.dtype == np.float32

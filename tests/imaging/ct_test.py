"""What is not a CT in HU is refused, padding is air, and what is a CT keeps its voxels."""

import numpy as np
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import ct, lungs, volume
from dtc_jax.imaging.volume import Volume
from tests import chests


def _chest(noise_hu=15.0):
    noise = np.random.default_rng(0).normal(0, noise_hu, chests.SHAPE)
    return np.rint(chests.empty() + noise).astype(np.int32)


def _read(folder, array, affine=chests.AFFINE):
    volume.write(folder / "scan.nii", Volume(array, affine))
    return ct.read(folder / "scan.nii")


def _tight(hu, noise_hu=15.0):
    """A cube of 12 mm within one tissue."""
    return np.rint(np.random.default_rng(0).normal(hu, noise_hu, (12, 12, 12))).astype(np.int16)


GOOD = {
    "chest": (_chest(), chests.AFFINE),
    "noisy chest": (_chest(90.0), chests.AFFINE),
    "one slab": (_chest()[:11], chests.AFFINE),
    "clipped": (_chest().clip(-1024, 3071), chests.AFFINE),
    "metal": (np.where(_chest() > 90, 30000, _chest()), chests.AFFINE),
    "nodule in soft tissue": (_tight(40), np.eye(4)[[2, 1, 0, 3]]),
    "contrast in a vessel": (_tight(350), np.eye(4)[[2, 1, 0, 3]]),
    "lung alone": (_tight(-860), np.eye(4)[[2, 1, 0, 3]]),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_ct_keeps_its_voxels(tmp_path, case):
    array, affine = GOOD[case]
    found = _read(tmp_path, array, affine)
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, array)
    assert found.notes == ()


BAD = {
    "no intercept": (_chest() + 1024, "99 % of its voxels are above .*intercept .* is missing"),
    "a picture": (np.uint8(np.clip((_chest() + 1000) / 5.5, 0, 255)), "not in HU: 99 %"),
    "scaled to 1": (np.float32(np.clip((_chest() + 1000) / 1400, 0, 1)), "not in HU: 99 %"),
    "intercept twice": (_chest() - 1024, "unlike padding they differ in value; .* applied twice"),
    "twice, no noise": (_chest(0) - 1024, "only 0.1 % of its voxels are above -"),
    "numbers of 32 bits": (
        _chest() * 100,
        r"voxels of up to \d{4,6} HU, which no CT has|differ in value",
    ),
    "no numbers of 16 bits": (np.abs(_chest()) * 100, r"of up to 1\d{5} HU, which no CT has"),
    "33000 too high": (_chest() + 33000, "differ in value"),
    "padding alone": (np.full(chests.SHAPE, -2000), "nothing but padding"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("padding", [None, -3024])
def test_what_is_not_in_hu_is_refused(tmp_path, case, padding):
    array, message = BAD[case]
    if padding and array.dtype == np.int64:
        array = np.where(_outside(), padding, array)
    with pytest.raises(InputError, match=message) as caught:
        _read(tmp_path, array.astype(np.int32) if array.dtype == np.int64 else array)
    assert str(tmp_path / "scan.nii") in str(caught.value)


def test_a_cube_that_is_dense_throughout_is_refused(tmp_path):
    with pytest.raises(InputError, match="not in HU"):
        _read(tmp_path, _tight(40) + np.int16(1024), np.eye(4)[[2, 1, 0, 3]])


def _outside():
    """What a scanner leaves out: the corners of its square pictures."""
    _, y, x = np.indices(chests.SHAPE)
    return ((y - 24.5) / 25) ** 2 + ((x - 31.5) / 32) ** 2 > 1.0


@pytest.mark.parametrize("padding", [-2000, -2048, -3024, -32768, 63536, 62512, 63488])
def test_padding_is_air_and_said(tmp_path, padding):
    array = np.where(_outside(), padding, _chest()).astype(np.int32)
    found = _read(tmp_path, array)
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, np.where(_outside(), -1024, array))
    (note,) = found.notes
    hu = padding - 2**16 if padding > 0 else padding
    assert note == f"{_outside().sum():,} voxels of padding ({hu} HU) are treated as air."


def test_a_lost_sign_is_found_and_said(tmp_path):
    array = _chest()
    found = _read(tmp_path, array.astype(np.uint16))
    np.testing.assert_array_equal(found.array, array)
    count = (array < 0).sum()
    assert found.notes == (
        f"{count:,} voxels are treated as negative numbers that were stored unsigned.",
    )


def test_a_scan_without_intercept_is_found_behind_its_padding(tmp_path):
    array = np.where(_outside(), -2000, _chest() + 1024).astype(np.int32)
    with pytest.raises(InputError, match=r"intercept .* is missing"):
        _read(tmp_path, array)


@pytest.mark.parametrize("padding", [-1024, 0])
def test_padding_does_not_hide_that_the_intercept_is_missing(tmp_path, padding):
    array = np.where(_outside(), padding, _chest() + 1024).astype(np.int32)
    with pytest.raises(InputError, match=r"intercept .* is missing"):
        _read(tmp_path, array)


@pytest.mark.parametrize("padding", [0, 40, 3071])
def test_padding_that_looks_like_tissue_is_air_as_well(tmp_path, padding):
    """The lungs would otherwise reach to the edge of the picture."""
    array = np.where(_outside(), padding, _chest()).astype(np.int16)
    array[16, 25, 30:34] = padding  # in the body the same number is tissue
    found = _read(tmp_path, array)
    np.testing.assert_array_equal(found.array[16, 25, 30:34], padding)
    assert (found.array[_outside()] == -1024).all()
    assert (found.array[~_outside()] == array[~_outside()]).mean() > 0.999
    (note,) = found.notes
    assert note.endswith(f"voxels of padding ({padding} HU) are treated as air.")
    assert not (lungs.lung_field(found).array & _outside()).any()


@pytest.mark.parametrize("slices", [slice(20, 32), slice(0, 20), slice(7, 8)])
def test_slices_that_lack_the_intercept_of_the_others_are_refused(tmp_path, slices):
    array = _chest()
    array[slices] += 1024
    with pytest.raises(
        InputError, match=r"of 32, counted from the feet, differ by 10\d\d HU throughout"
    ):
        _read(tmp_path, array)


@pytest.mark.parametrize("empty", [-3024, -1024])
def test_empty_slices_before_a_body_lack_no_intercept(tmp_path, empty):
    array = _chest()
    array[:, :4] = array[:, -4:] = 40  # no air beside the body
    array[:6] = empty
    assert _read(tmp_path, array).array.shape == array.shape


@pytest.mark.parametrize(("away", "alternates"), [(0, False), (8, True)])
def test_two_breaths_whose_slices_alternate_are_refused(tmp_path, away, alternates):
    """The second acquisition is half a slice further up, and the body some slices as well."""
    z, y, x = np.indices((41, 50, 60))
    breath = np.sin(z / 3) * 300 + 40 * np.sin(y / 5 + z / 4) + np.where(x < 30, -700.0, 0)
    hu = np.empty((32, 50, 60))
    hu[::2], hu[1::2] = breath[:32:2], breath[away + 1 : 33 + away : 2]
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (2.5, 3.6, 3.6, 1)
    if not alternates:
        assert _read(tmp_path, hu.astype(np.int16), affine).shape == hu.shape
        return
    with pytest.raises(
        InputError, match=r"its 32 slices seem to alternate between two .* Export one acquisition"
    ):
        _read(tmp_path, hu.astype(np.int16), affine)

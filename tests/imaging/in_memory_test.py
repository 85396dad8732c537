"""Scans and masks in memory: turned as those of files are, and never guessed at."""

import nibabel as nib
import numpy as np
import pytest

from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import in_memory

AFFINE = np.diag([-0.8, -0.7, 5.0, 1.0])  # LPS, as most scans that were converted from DICOM


def _image(array):
    return nib.Nifti1Image(array.T, AFFINE)


def test_an_image_and_its_mask_are_turned_together():
    hu = np.full((2, 3, 4), -900, np.int16)
    numbers = np.zeros(hu.shape, np.uint8)
    numbers[0, 0, 0], hu[0, 0, 0] = 3, 50
    scan = in_memory.read_ct(_image(hu))
    mask = in_memory.read_mask("the mask", _image(numbers), scan)
    assert scan.array[mask.array == 3] == [50]
    assert np.argwhere(mask.array).tolist() == [[0, 2, 3]]
    back = in_memory.given_back(mask, _image(hu), scan.axes)
    np.testing.assert_array_equal(np.asanyarray(back.dataobj), numbers.T)


def test_an_array_beside_an_image_is_refused_as_nothing_says_how_it_lies():
    hu = np.full((2, 3, 4), -900, np.int16)
    in_memory.refuse_mixture("the mask", hu, hu)
    in_memory.refuse_mixture("the mask", _image(hu), _image(hu))
    with pytest.raises(UsageError, match="the mask: is an array and the scan an image"):
        in_memory.refuse_mixture("the mask", hu, _image(hu))


@pytest.mark.parametrize(
    "spacing_mm", [(2.5, -0.7, 0.7), (0, 1, 1), (np.nan, 1, 1), (np.inf, 1, 1), ("a", 1, 1)]
)
def test_a_spacing_that_is_no_distance_is_refused(spacing_mm):
    hu = np.full((2, 3, 4), -900, np.int16)
    with pytest.raises(UsageError, match="give three distances above 0 in mm"):
        in_memory.read_ct(hu, spacing_mm)


@pytest.mark.parametrize("kind", [complex, "U3", object])
def test_values_that_are_no_numbers_are_refused(kind):
    with pytest.raises(UsageError, match="the scan: has values of type"):
        in_memory.read_ct(np.ones((2, 3, 4)).astype(kind), (1, 1, 1))


def test_the_header_of_an_image_counts_as_that_of_a_file_does():
    hu = np.full((2, 3, 4), -900, np.int16)
    microns = nib.Nifti1Image(hu.T, np.diag([700.0, 700.0, 5000.0, 1.0]))
    microns.header.set_xyzt_units("micron")
    np.testing.assert_allclose(in_memory.read_ct(microns).spacing_mm, (5, 0.7, 0.7), rtol=1e-6)
    mirrored = _image(hu)
    mirrored.set_qform(AFFINE @ np.diag([-1.0, 1, 1, 1]), code=1)
    with pytest.raises(InputError, match="the scan: its sform and its qform disagree"):
        in_memory.read_ct(mirrored)
    plain = nib.MGHImage(hu.T.astype(np.float32), AFFINE)
    np.testing.assert_allclose(in_memory.read_ct(plain).spacing_mm, (5, 0.7, 0.8), rtol=1e-6)
    for affine in (None, np.full((4, 4), np.nan)):
        with pytest.raises((InputError, UsageError), match=r"the scan: .* affine"):
            in_memory.read_ct(nib.spatialimages.SpatialImage(hu.T, affine))


def test_an_affine_that_was_changed_in_memory_is_the_one_that_counts():
    hu = np.random.default_rng(0).integers(-1000, 400, (2, 3, 4), dtype=np.int16)
    changed = _image(hu)
    changed.affine[0, 0] *= -1
    changed.affine[2, 2] = 8
    scan, saved = in_memory.read_ct(changed), in_memory.read_ct(_saved(changed))
    assert (scan.axes, scan.spacing_mm[0]) == ("RPS", 8)
    np.testing.assert_array_equal(scan.affine, saved.affine)
    np.testing.assert_array_equal(scan.array, saved.array)
    changed.affine[:] = np.nan
    with pytest.raises(InputError, match=r"the scan: .* must be positive"):
        in_memory.read_ct(changed)
    zoomed = _image(hu)
    zoomed.header.set_zooms((5.0, 5.0, 4.0))
    with pytest.raises(InputError, match=r"the scan: its sform has .* 0\.8 × 0\.7 × 5 mm, its"):
        in_memory.read_ct(zoomed)


def _saved(image):
    return nib.Nifti1Image.from_bytes(image.to_bytes())


def test_lesions_are_numbered_from_one_and_there_is_one():
    scan = in_memory.read_ct(np.full((2, 3, 4), -900, np.int16), (1, 1, 1))
    numbers = np.zeros((2, 3, 4), np.uint64)
    with pytest.raises(InputError, match="the mask is empty"):
        in_memory.read_lesions("the mask", numbers, scan)
    numbers[0, 0, 0] = 2**40
    with pytest.raises(InputError, match="the mask has numbers above 65535"):
        in_memory.read_lesions("the mask", numbers, scan)
    numbers[0, 0, 0] = 65535
    assert in_memory.read_lesions("the mask", numbers, scan).array.max() == 65535

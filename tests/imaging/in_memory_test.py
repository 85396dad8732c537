"""Scans and masks in memory: turned as those of files are, and never guessed at."""

import nibabel as nib
import numpy as np
import pytest

from dtc_jax.errors import UsageError
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

"""The lung field of real scans."""

import os
import pathlib

import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.imaging.lungs import lung_field
from dtc_jax.imaging.volume import Volume

pytestmark = pytest.mark.skipif(
    "DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder"
)


def test_a_real_lung_alone_is_found_with_its_nodule():
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_ct")
    scan = volume.read_image(folder / "LIDC-IDRI-0001_ct.nii.gz")
    nodule = volume.read_mask(folder / "LIDC-IDRI-0001_nodules.nii.gz", scan)
    field = lung_field(scan)
    assert field.array[nodule.array].mean() > 0.99
    litres = field.array.sum() * np.prod(field.spacing_mm) / 1e6
    assert 1.5 < litres < 2.0
    assert np.median(scan.array[field.array]) < -800
    thick = scan.affine.copy()
    thick[:3, 0] *= 2
    coarse = lung_field(Volume(scan.array[::2], thick)).array
    fine = field.array[::2]
    assert 2 * (coarse & fine).sum() / (coarse.sum() + fine.sum()) > 0.97
    with pytest.raises(InputError, match="no lungs found"):  # the abdomen below it, with its gas
        lung_field(Volume(scan.array[:12], scan.affine))


@pytest.mark.extras
def test_a_real_chest_has_no_air_of_the_room_in_its_field():
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "chest_ct")
    scan = volume.read_image(folder / "ACRIN-NSCLC-042_half_ct.nii.gz")
    field = lung_field(scan).array
    for plane, in_field in zip(scan.array, field, strict=True):
        pieces, _ = ndimage.label(plane < -500)
        rim = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
        assert not (np.isin(pieces, rim[rim > 0]) & in_field).any()
    litres = field.sum() * np.prod(scan.spacing_mm) / 1e6
    assert 5.7 < litres < 6.2


@pytest.mark.extras
def test_a_real_mass_of_70_ml_at_the_chest_wall_is_in_the_field():
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "chest_ct")
    scan = volume.read_image(folder / "Lung_Dx-A0001_ct.nii.gz")
    field = lung_field(scan)
    # The file's axes run the other way in x and y: the middle of the box of slice 46.
    x, y = (511 - np.mean(side) for side in ((286, 355), (310, 402)))
    middle = scan.world((46, y, x))
    index = np.ix_(*map(np.arange, scan.shape))
    at = zip(index, scan.index(middle), scan.spacing_mm, strict=True)
    ball = sum(((i - c) * side) ** 2 for i, c, side in at) < 20**2
    assert scan.array[ball].mean() > 0
    assert field.array[ball].mean() > 0.99

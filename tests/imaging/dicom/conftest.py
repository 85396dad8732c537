"""Small scans, and the functions that make DICOM of them."""

import pathlib
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from scipy.spatial import transform

from dtc_jax.imaging.volume import Volume
from tests.dicom_files import enhance_slices, make_slices, save_slices


@pytest.fixture
def make() -> Callable[..., list[pydicom.Dataset]]:
    """`make_slices`."""
    return make_slices


@pytest.fixture
def save() -> Callable[..., pathlib.Path]:
    """`save_slices`."""
    return save_slices


@pytest.fixture
def enhance() -> Callable[..., pydicom.Dataset]:
    """`enhance_slices`."""
    return enhance_slices


@pytest.fixture(params=[(0, 0, 0), (12, -8, 20)], ids=["straight", "oblique"])
def placed(request: pytest.FixtureRequest) -> Volume:
    """A small CT of random whole HU, straight or turned in the scanner."""
    return small_ct(request.param)


@pytest.fixture
def ct() -> Volume:
    """A small CT of random whole HU, in the scanner's axes."""
    return small_ct((0, 0, 0))


def small_ct(turned_deg: tuple[float, float, float]) -> Volume:
    hu = np.random.default_rng(0).integers(-1000, 400, (8, 33, 36), dtype=np.int16)
    axes = np.eye(3)[:, [2, 1, 0]]  # (z, y, x) to RAS x, y, z
    turn = transform.Rotation.from_euler("xyz", turned_deg, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * [2.5, 0.8, 0.7]
    affine[:3, 3] = (-31.0, 87.5, 12.25)
    return Volume(hu, affine)

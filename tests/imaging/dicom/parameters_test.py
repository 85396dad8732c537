"""How a CT was acquired: numbers, kernels by their form, and no other text of a header."""

import numpy as np
import pandas as pd
import pydicom
import pytest

from dtc_jax.crops import extraction, record
from dtc_jax.imaging import dicom
from dtc_jax.imaging.dicom import parameters
from dtc_jax.imaging.volume import Volume
from tests.dicom_files import make_slices, save_slices

TAGS = {"KVP": "120", "XRayTubeCurrent": "187", "ConvolutionKernel": "B30f"}


def _saved(folder, **tags):
    hu = np.random.default_rng(0).integers(-1000, 100, (6, 8, 8)).astype(np.int16)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (2.5, 0.7, 0.7, 1.0)
    save_slices(make_slices(Volume(hu, affine), **tags), folder)
    return folder


def test_a_series_says_how_it_was_acquired(tmp_path):
    found = dicom.find(_saved(tmp_path / "ct", **TAGS)).parameters
    assert found == {
        "kvp": 120.0,
        "tube_current_ma": 187.0,
        "kernel": "B30f",
        "pixel_mm": 0.7,
        "slice_mm": 2.5,
    }


@pytest.mark.parametrize(
    ("kernel", "shown"),
    [
        ("Br40d", "Br40d"),
        ("FC51", "FC51"),
        ("LUNG", "LUNG"),
        ("EB", "EB"),
        (["I50f", "3"], "I50f"),
        ("Doe^Jane", None),
        ("Jane Doe 1961", None),
        ("Jane61", None),
        ("", None),
    ],
)
def test_a_kernel_is_taken_where_it_is_one_by_its_form(kernel, shown):
    header = pydicom.Dataset()
    header.ConvolutionKernel = kernel
    assert parameters.of_header(header).get("kernel") == shown


def test_the_tube_current_of_a_series_is_the_median_in_any_order():
    headers = []
    for current in (90, 400, 110):
        header = pydicom.Dataset()
        header.XRayTubeCurrent = current
        headers.append(header)
    assert parameters.of_headers(headers)["tube_current_ma"] == 110
    assert parameters.of_headers(headers[::-1])["tube_current_ma"] == 110


def test_what_a_header_lacks_or_has_as_zero_is_not_there():
    header = pydicom.Dataset()
    header.KVP = None
    header.XRayTubeCurrent = 0
    assert dict(parameters.of_header(header)) == {}


def test_the_lesions_of_dicom_scans_have_them(tmp_path):
    folder = _saved(tmp_path / "ct", **TAGS)
    lesions = [record.Lesion(patient_id="p", lesion_id=name, mask="m") for name in ("a", "b")]
    scan = extraction.Scan(str(folder), tuple(lesions))
    table = extraction.acquired([scan])
    assert table.lesion_id.tolist() == ["a", "b"]
    assert set(table.columns) == {"lesion_id", *parameters.COLUMNS}
    assert table.tube_current_ma.tolist() == [187.0, 187.0]
    (tmp_path / "ct.nii").touch()
    assert extraction.acquired([extraction.Scan(str(tmp_path / "ct.nii"), tuple(lesions))]) is None


def test_the_manifest_comes_first_and_the_header_fills_what_it_lacks():
    from dtc_jax.tasks import classification

    table = pd.DataFrame({"lesion_id": ["a", "b"], "kvp": [100.0, np.nan], "kernel": [np.nan, "X"]})
    stored = pd.DataFrame(
        {"lesion_id": ["b", "a"], "kvp": [120.0, 120.0], "kernel": ["B30f"] * 2, "position": [0, 1]}
    )
    joined = classification._join(table, stored)
    assert joined.kvp.tolist() == [100.0, 120.0]
    assert joined.kernel.tolist() == ["B30f", "X"]

"""NRRD and MHA lie where ITK says they lie; what is wrong with one is said by name."""

import os
import pathlib
import re
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import transform

from dtc_jax.errors import InputError
from dtc_jax.imaging import volume

HU = np.random.default_rng(0).integers(-1000, 400, (9, 10, 11), dtype=np.int16)  # [z, y, x]
TURN = transform.Rotation.from_euler("xyz", (20, -15, 100), degrees=True).as_matrix()


def _image(array=HU, turn=TURN, **kwargs):
    image = sitk.GetImageFromArray(array, **kwargs)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-31.0, 87.5, 12.25))
    image.SetDirection(turn.ravel())
    return image


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "packed"])
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha", "SCAN.NRRD"])
def test_it_is_the_scan_that_nifti_holds(tmp_path, name, packed):
    sitk.WriteImage(_image(), tmp_path / name, packed)
    sitk.WriteImage(_image(), tmp_path / "scan.nii.gz")
    found, expected = (volume.read_image(tmp_path / n) for n in (name, "scan.nii.gz"))
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_a_marked_voxel_lies_where_itk_says(tmp_path, name):
    hu = HU.copy()
    hu[2, 4, 6] = 2000
    image = _image(hu)
    sitk.WriteImage(image, tmp_path / name)
    found = volume.read_image(tmp_path / name)
    place = np.unravel_index(found.array.argmax(), found.shape)
    left, posterior, superior = image.TransformIndexToPhysicalPoint((6, 4, 2))
    np.testing.assert_allclose(found.world(place), (-left, -posterior, superior), atol=1e-4)


def test_a_mask_of_3d_slicer_fits_its_scan(tmp_path):
    scan, labels = tmp_path / "scan.nii.gz", np.zeros(HU.shape, np.uint8)
    labels[3:5, 4:6, 5:8] = 2
    sitk.WriteImage(_image(), scan)
    sitk.WriteImage(_image(labels), tmp_path / "edited.seg.nrrd", True)
    sitk.WriteImage(_image(labels), tmp_path / "edited.nii.gz")
    like = volume.read_image(scan)
    names = ("edited.seg.nrrd", "edited.nii.gz")
    found, expected = (volume.read_mask(tmp_path / name, like, 2) for name in names)
    assert found.array.sum() == 12
    np.testing.assert_array_equal(found.array, expected.array)


def test_real_numbers_are_kept(tmp_path):
    hu = HU + np.float32(0.25)
    sitk.WriteImage(_image(hu, np.diag([-1.0, -1.0, 1.0])), tmp_path / "scan.mha")
    found = volume.read_image(tmp_path / "scan.mha")
    assert found.array.dtype == np.float32
    np.testing.assert_array_equal(found.array, hu)


def _written(folder, image, name):
    sitk.WriteImage(image, folder / name)
    return (folder / name).read_bytes()


def _nan():
    array = HU.astype(np.float32)
    array[1, 2, 3] = np.nan
    return _image(array)


def _without(data, field):
    """The header without a field."""
    lines = data.split(b"\n")
    return b"\n".join(line for line in lines if not line.startswith(field))


def _with_nrrd_unit(unit):
    return lambda data: data.replace(b"encoding: raw", b"encoding: raw\nspace units: " + unit)


BAD = {
    "cut.nrrd": (lambda data: data[:-1], "damaged, truncated"),
    "cut.mha": (lambda data: data[:-1], "damaged, truncated"),
    "header.nrrd": (lambda data: data[:120], "has no voxel spacing"),
    "header.mha": (lambda data: data[:60], "has no voxel spacing"),
    "text.nrrd": (lambda data: b"not a scan at all " * 50, "has no voxel spacing"),
    "empty.mha": (lambda data: b"", "has no voxel spacing"),
    "no_mm.nrrd": (lambda data: _without(data, b"space directions"), "has no voxel spacing"),
    "no_mm.mha": (lambda data: _without(data, b"ElementSpacing"), "has no voxel spacing"),
    "flat.mha": (lambda data: data.replace(b" 2.5\n", b" 0\n"), "valid geometry"),
    "axes.mha": (
        lambda data: re.sub(rb"TransformMatrix = .*", b"TransformMatrix =" + 9 * b" 1", data),
        "valid geometry",
    ),
    "nowhere.nrrd": (
        lambda data: data.replace(b"space: left-posterior-superior", b"space dimension: 3"),
        "where its axes point",
    ),
    "scanner.nrrd": (
        lambda data: data.replace(b"left-posterior-superior", b"scanner-xyz"),
        "where its axes point",
    ),
    "nowhere.mha": (lambda data: _without(data, b"TransformMatrix"), "where its axes point"),
    "cubits.nrrd": (_with_nrrd_unit(b'"cubit" "cubit" "cubit"'), "unit of length is not known"),
    "two.nrrd": (_with_nrrd_unit(b'"mm" "mm" "um"'), "unit of length is not known"),
    "metres.nrrd": (_with_nrrd_unit(b'"m" "m" "m"'), "voxels are 700 × 800 × 2.5e"),
    "metres.mha": (
        lambda data: data.replace(b"ElementSpacing", b"DistanceUnits = m\nElementSpacing"),
        "voxels are 700 × 800 × 2.5e",
    ),
    "away.nrrd": (
        lambda data: data.replace(b"encoding: raw", b"encoding: raw\ndata file: /etc/passwd"),
        "stores its voxels in another file",
    ),
    "away.mha": (lambda data: data.replace(b"LOCAL", b"voxels.raw"), "voxels in another file"),
}


@pytest.mark.parametrize(("name", "case"), BAD.items(), ids=BAD)
def test_bad_content_is_named(tmp_path, name, case):
    spoil, message = case
    (tmp_path / name).write_bytes(spoil(_written(tmp_path, _image(), name)))
    with pytest.raises(InputError, match=message) as caught:
        volume.read_image(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("unit", [b'"mm" "mm" "mm"', b'"um" "um" "um"'])
def test_the_unit_of_a_nrrd_counts(tmp_path, unit):
    image = _image()
    scale = 1000 if b"um" in unit else 1
    image.SetSpacing([scale * side for side in image.GetSpacing()])
    image.SetOrigin([scale * place for place in image.GetOrigin()])
    data = _with_nrrd_unit(unit)(_written(tmp_path, image, "scan.nrrd"))
    (tmp_path / "scan.nrrd").write_bytes(data)
    sitk.WriteImage(_image(), tmp_path / "mm.nrrd")
    found, expected = (volume.read_image(tmp_path / n) for n in ("scan.nrrd", "mm.nrrd"))
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)


def test_a_sheared_nrrd_is_refused(tmp_path):
    data = _written(tmp_path, _image(turn=np.eye(3)), "scan.nrrd")
    sheared = re.sub(rb"\(0,0,2.5\)", b"(0,0.5,2.45)", data)
    assert sheared != data
    (tmp_path / "scan.nrrd").write_bytes(sheared)
    with pytest.raises(InputError, match=r"gantry tilt of 11\.5 degrees"):
        volume.read_image(tmp_path / "scan.nrrd")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (sitk.GetImageFromArray(HU[0]), r"is 2-D \(11, 10\).* stack its slices"),
        (
            sitk.GetImageFromArray(np.stack([HU, HU]), isVector=False),
            r"is 4-D .* save one of its volumes",
        ),
        (_image(np.stack([HU, HU], -1), isVector=True), "has 2 numbers per voxel"),
        (_nan(), "contains 1 voxels that are NaN"),
    ],
    ids=["2d", "4d", "overlapping", "nan"],
)
@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_what_is_no_scan_is_refused(tmp_path, suffix, image, message):
    sitk.WriteImage(image, tmp_path / f"scan.{suffix}")
    with pytest.raises(InputError, match=message):
        volume.read_image(tmp_path / f"scan.{suffix}")


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    sitk.WriteImage(_image(), tmp_path / "scan.mha")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install 'dtc-jax\[itk\]'"):
        volume.read_image(tmp_path / "scan.mha")


@pytest.mark.skipif("DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder")
@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_a_real_ct_is_the_same(tmp_path, suffix):
    source = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_ct", "LIDC-IDRI-0001_ct.nii.gz")
    sitk.WriteImage(sitk.ReadImage(source), tmp_path / f"scan.{suffix}")
    found, expected = volume.read_image(tmp_path / f"scan.{suffix}"), volume.read_image(source)
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-3)

"""A series in any order, packing and orientation gives the volume that it was made of."""

import os
import pathlib

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom import pixels, uid

from dtc_jax.errors import InputError
from dtc_jax.imaging import volume


def _same(found, expected):
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)


@pytest.mark.parametrize("axes", ["LPS", "RPI", "LAS", "LIP", "PIL", "ASR"])
def test_every_orientation_gives_the_same_volume(tmp_path, placed, make, save, axes):
    _same(volume.read_image(save(make(placed, axes), tmp_path), series=1), placed)


def test_names_and_numbers_of_the_files_do_not_count(tmp_path, placed, make, save):
    slices = make(placed)
    for one, number in zip(slices, np.random.default_rng(1).permutation(len(slices)), strict=True):
        one.InstanceNumber = int(number)
    del slices[2].InstanceNumber
    save(slices[4::-1], tmp_path / "DICOM" / "A", "I{}")  # without a suffix, backwards
    save(slices[5:], tmp_path / "DICOM" / "B", "scan {}.DCM")
    _same(volume.read_image(tmp_path), placed)


def test_each_slice_has_its_own_slope_and_intercept(tmp_path, ct, make, save):
    slices = make(ct)
    stored = ct.array[:, ::-1, ::-1] + 1024.0  # as the slices hold it
    expected = np.empty(ct.shape, np.float32)
    for z, one in enumerate(slices):
        one.RescaleSlope, one.RescaleIntercept = f"{1 + z / 8}", f"{-1000.5 - z}"
        expected[z] = stored[z] * (1 + z / 8) - 1000.5 - z
    found = volume.read_image(save(slices, tmp_path))
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array[:, ::-1, ::-1], expected, rtol=1e-6)


def test_signed_numbers_keep_their_sign(tmp_path, ct, make, save):
    slices = make(ct, PixelRepresentation=1, RescaleIntercept=0)
    for one in slices:
        stored = np.frombuffer(one.PixelData, "<u2").astype("<i2") - 1024
        one.PixelData = stored.astype("<i2").tobytes()
    _same(volume.read_image(save(slices, tmp_path)), ct)


@pytest.mark.parametrize("first", [{}, {"SpecificCharacterSet": "ISO_IR 100"}])
@pytest.mark.parametrize("name", ["{}.dcm", "IM{}", "{}.ima"])
@pytest.mark.parametrize(("implicit", "little"), [(False, True), (True, True), (False, False)])
def test_files_without_a_preamble_are_read(tmp_path, ct, make, name, implicit, little, first):
    slices = make(ct, **first)
    for number, one in enumerate(slices):
        if number % 3:  # as where two exports were put into one folder
            one.save_as(tmp_path / name.format(number), enforce_file_format=True)
            continue
        del one.file_meta
        if not little:
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one.save_as(tmp_path / name.format(number), implicit_vr=implicit, little_endian=little)
    _same(volume.read_image(tmp_path), ct)


def test_a_truncated_file_without_a_preamble_is_not_passed_over(tmp_path, ct, make, save):
    slices = make(ct)
    save(slices, tmp_path)
    (tmp_path / "IM0007.dcm").unlink()
    del slices[7].file_meta
    slices[7].save_as(tmp_path / "last", implicit_vr=True, little_endian=True)
    (tmp_path / "last").write_bytes((tmp_path / "last").read_bytes()[:300])
    with pytest.raises(InputError, match="1 of 8 files cannot be read as DICOM"):
        volume.read_image(tmp_path)


# --- compressed ---

LOSSLESS = {
    "RLE": uid.RLELossless,
    "JPEG_2000": uid.JPEG2000Lossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
}


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_compressed_pixels_are_read(tmp_path, ct, make, save, syntax, signed):
    slices = make(ct, PixelRepresentation=int(signed), BitsStored=13, HighBit=12)
    for one in slices:
        if syntax.is_encapsulated:
            pixels.compress(one, syntax, generate_instance_uid=False)
        else:
            one.file_meta.TransferSyntaxUID = syntax
    _same(volume.read_image(save(slices, tmp_path)), ct)


def test_jpeg_lossless_is_read(tmp_path, ct, make, save):
    """The old lossless JPEG of many archives; pydicom cannot write it, gdcm can."""
    for file in save(make(ct), tmp_path).iterdir():
        reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(file))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1
    _same(volume.read_image(tmp_path), ct)


def test_a_missing_decoder_names_the_extra(tmp_path, ct, make, save, monkeypatch):
    slices = make(ct)
    for one in slices:
        pixels.compress(one, uid.JPEG2000Lossless, generate_instance_uid=False)
    decoder = pixels.get_decoder(uid.JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(InputError, match=r"compressed as JPEG 2000 .* 'dtc-jax\[dicom\]'"):
        volume.read_image(save(slices, tmp_path))


def test_an_unknown_compression_is_refused(tmp_path, ct, make, save):
    slices = make(ct)
    for one in slices:
        pixels.compress(one, uid.RLELossless, generate_instance_uid=False)
        one.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    with pytest.raises(InputError, match="its compression is not supported"):
        volume.read_image(save(slices, tmp_path))


# --- several slices in a file ---


def test_an_enhanced_ct_gives_the_same_volume(tmp_path, placed, make, enhance):
    slices = make(placed)
    file = tmp_path / "enhanced.dcm"
    enhance(slices[::-1]).save_as(file, enforce_file_format=True)
    _same(volume.read_image(file), placed)
    _same(volume.read_image(tmp_path), placed)


# --- damage ---


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, *LOSSLESS.values()][:4])
def test_truncated_pixels_are_refused(tmp_path, ct, make, save, syntax):
    slices = make(ct)
    for one in slices:
        if syntax.is_encapsulated:
            pixels.compress(one, syntax, generate_instance_uid=False)
    save(slices, tmp_path)
    file = tmp_path / "IM0003.dcm"
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"pixels of a slice .* \(damaged, truncated"):
        volume.read_image(tmp_path)


# --- a real scan ---


@pytest.mark.skipif("DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder")
def test_a_real_ct_is_the_same_as_nifti_and_as_dicom(tmp_path, make, save):
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_ct")
    scan = volume.read_image(folder / "LIDC-IDRI-0001_ct.nii.gz")
    _same(volume.read_image(save(make(scan), tmp_path)), scan)


def test_numbers_in_the_upper_bits_are_refused(tmp_path, ct, make, save):
    slices = make(ct)
    for one in slices:
        stored = np.frombuffer(one.PixelData, "<u2")
        one.PixelData = (stored << 4).astype("<u2").tobytes()
        one.BitsStored, one.HighBit = 12, 15
    save(slices, tmp_path)
    with pytest.raises(InputError, match="stores 12 bits of each voxel, the highest in bit 15"):
        volume.read_image(tmp_path)

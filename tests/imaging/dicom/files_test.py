"""No file or folder of a scan is passed over: what cannot be read is an error."""

import errno
import os

import numpy as np
import pytest
from pydicom import uid

from dtc_jax.crops import fingerprint
from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, volume
from dtc_jax.imaging.volume import Volume


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 128 + b"DICM", np.random.default_rng(0).bytes(4000)]
)
def test_an_unreadable_file_is_refused(tmp_path, ct, make, save, data):
    """Its slice may belong to the series: what is left would look whole."""
    save(make(ct), tmp_path)
    (tmp_path / "IM0007.dcm").write_bytes(data)
    message = r"1 of 8 files cannot be read as DICOM .* number 8 when sorted by name\."
    with pytest.raises(InputError, match=message):
        volume.read_image(tmp_path)


def test_a_link_to_nowhere_is_refused(tmp_path, ct, make, save):
    save(make(ct), tmp_path)
    (tmp_path / "IM0008.dcm").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="1 of 9 files cannot be read as DICOM"):
        volume.read_image(tmp_path)


def test_a_folder_that_is_a_link_is_read_once(tmp_path, ct, make, save):
    slices = make(ct)
    save(slices[:5], tmp_path / "ct" / "a")
    save(slices[5:], tmp_path / "elsewhere")
    (tmp_path / "ct" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "ct" / "c").symlink_to(tmp_path / "ct" / "a")
    (tmp_path / "ct" / "a" / "up").symlink_to(tmp_path / "ct")
    assert len(dicom.find(tmp_path / "ct").slices) == 8


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, ct, make, save, monkeypatch):
    slices, list_folder = make(ct), os.scandir
    save(slices[:5], tmp_path / "a")
    save(slices[5:], tmp_path / "Doe")

    def stale(path):  # as of a server that went away; root may list all else
        if os.fspath(path).endswith("Doe"):
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", stale)
    with pytest.raises(InputError, match=r"a folder in it cannot be listed \(stale file") as caught:
        volume.read_image(tmp_path)
    assert "Doe" not in str(caught.value)
    assert fingerprint.stamp(tmp_path) == []
    assert fingerprint.sha256(tmp_path) == ""


def test_many_unreadable_files_are_counted(tmp_path, ct, make, save):
    save(make(Volume(np.tile(ct.array[:, :9, :9], (2, 1, 1)), ct.affine)), tmp_path)
    for number in range(12):
        (tmp_path / f"IM{number:04d}.dcm").write_bytes(b"")
    message = r"12 of 16 files .* number 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more when"
    with pytest.raises(InputError, match=message):
        volume.read_image(tmp_path)


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ExplicitVRLittleEndian,
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_a_file_cut_within_its_header_is_said_to_be_wherever_it_is_cut(
    tmp_path, ct, make, save, syntax
):
    """The last slice: without it, and with its UID cut off, the others look like a whole series."""
    slices = make(Volume(ct.array[:3, :9, :9], ct.affine))
    for one in slices:
        one.file_meta.TransferSyntaxUID = syntax
        if syntax == uid.ExplicitVRBigEndian:
            one.PixelData = one.pixel_array.astype(">u2").tobytes()
            one.set_original_encoding(False, False)
    file = save(slices, tmp_path) / "IM0002.dcm"
    assert dicom.find(tmp_path).slices
    data = file.read_bytes()
    deflated = syntax == uid.DeflatedExplicitVRLittleEndian
    tag = b"\x7f\xe0\x00\x10" if syntax == uid.ExplicitVRBigEndian else b"\xe0\x7f\x10\x00"
    header = len(data) - 2 if deflated else data.index(tag)  # the last byte may make it even
    for size in (*range(1, header, 7), header):
        file.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"1 of 3 files cannot .* truncated.* number 3 "):
            dicom.find(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_file_cut_within_its_pixels_is_refused(tmp_path, ct, make, save, kept):
    file = save(make(ct), tmp_path) / "IM0007.dcm"
    data = file.read_bytes()
    pixels = data.index(b"\xe0\x7f\x10\x00") + 12
    file.write_bytes(data[: pixels + int(kept * (len(data) - pixels))])
    with pytest.raises(InputError, match="the pixels of a slice of the series cannot be read"):
        volume.read_image(tmp_path)

"""One door: whatever comes is opened by the right reader, or refused by name."""

import numpy as np
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import formats, volume
from dtc_jax.imaging.volume import Volume


@pytest.mark.parametrize("name", ["gone.nii.gz", "gone.nrrd", "gone.dcm", "gone"])
def test_a_missing_scan_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: no such file or folder"):
        formats.load(tmp_path / name)


@pytest.mark.parametrize("name", ["scan.png", "scan", "scan.mhd", "scan.nhdr"])
def test_another_format_is_named_with_those_that_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(
        InputError, match=rf"{name}: unsupported format; .*\.nii\.gz, \.nrrd, \.mha, a D"
    ):
        formats.load(tmp_path / name)


def test_only_dicom_has_series(tmp_path):
    volume.write(tmp_path / "scan.nii", Volume(np.zeros((2, 3, 4), np.int16), np.eye(4)))
    with pytest.raises(InputError, match="only DICOM has series; omit series 3"):
        volume.read_image(tmp_path / "scan.nii", series=3)

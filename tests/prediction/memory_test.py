"""Want of memory is said, with how large the scan is; a batch goes on with the next one."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import requests

SHAPE = (240, 512, 512)  # 120 MiB as int16, of which zeros pack to next to nothing


@pytest.fixture
def scarce(monkeypatch, little_memory):
    """Lets scans be read with little memory; the networks are there by then."""
    read = requests.read

    def scarcely(*given):
        with little_memory():
            return read(*given)

    monkeypatch.setattr(requests, "read", scarcely)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The same large scan in two formats."""
    folder = tmp_path_factory.mktemp("large")
    array = np.zeros(SHAPE, np.int16)
    volume.write(folder / "large.nii.gz", Volume(array, np.eye(4)))
    sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / "large.nrrd"), True)
    return folder


@pytest.mark.parametrize("name", ["large.nii.gz", "large.nrrd"])
def test_a_scan_that_cannot_be_read_for_want_of_memory_is_said(
    predict, large, scarce, name, tmp_path, capsys
):
    assert predict(f"--scan={large / name}", f"--out={tmp_path / 'out'}") == 1
    said = capsys.readouterr().err
    assert re.search(rf"{name}: a scan that takes 0\.\d MiB on disk does not fit into mem", said)
    assert "crop the scan to the chest" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_batch_goes_on_with_the_next_scan(predict, large, chests, scarce, tmp_path):
    (tmp_path / "scans.csv").write_text(f"image\n{large / 'large.nii.gz'}\n{chests / '2.nii.gz'}\n")
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={tmp_path / 'out'}") == 1
    table = pd.read_csv(tmp_path / "out" / "scans.csv")
    assert table.status.tolist() == ["failed", "done"]
    assert table.message[0].startswith("the scan: a scan that takes")


def test_a_scan_too_large_for_the_accelerator_is_said(
    predict, chests, tmp_path, capsys, monkeypatch
):
    def full(*_):
        jnp.zeros((10**8, 10**7)).block_until_ready()  # more than any address space

    monkeypatch.setattr(answer_lib, "segment", full)
    with pytest.raises(jax.errors.JaxRuntimeError):
        full()
    assert predict(f"--scan={chests / '0.nii.gz'}", f"--out={tmp_path / 'out'}") == 1
    said = capsys.readouterr().err
    assert "0.nii.gz: a scan of 30 × 50 × 64 voxels (z, y, x) does not fit into memory" in said
    assert "RESOURCE_EXHAUSTED" in said

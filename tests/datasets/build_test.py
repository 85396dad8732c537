import errno
import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
from tensorflow_datasets.core import file_adapters, shuffle

from datasets import build, records
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction
from dtc_jax.crops.record import CropParams
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import volume
from dtc_jax.training.batches import Records


@pytest.fixture
def calls(monkeypatch):
    """The scans that are cut."""
    made = []
    cut_scan = extraction.cut_scan

    def counted(scan, params):
        made.append(scan.image)
        return cut_scan(scan, params)

    monkeypatch.setattr(extraction, "cut_scan", counted)
    return made


def test_record_i_is_row_i(config, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_SHARD_SIZE", 2)  # shards end inside the cohort
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)  # above it TFDS needs TensorFlow
    folder = build.build("lesion_crops", config, tmp_path / "data")
    assert len(list(folder.glob("*.array_record-*"))) == 2
    table = pd.read_csv(folder / "lesions.csv")
    assert table.lesion_id.tolist() == ["a1", "b1", "b2", "c1", "d1"]
    stored = Records(folder)
    expected = {
        one["lesion_id"]: one
        for scan in _scans(config)
        for one in extraction.cut_scan(scan, _params(config))
    }
    for i, row in table.iterrows():
        one = expected[row.lesion_id]
        for name in ("image", "mask", "extent"):
            np.testing.assert_array_equal(stored[i][name], one[name])
            assert stored[i][name].dtype == one[name].dtype
        assert row.patient_id == one["patient_id"]
        assert row.diameter_mm == pytest.approx(float(one["diameter_mm"]))


def test_whatever_a_file_system_takes_is_a_data_folder(config, tmp_path):
    folder = build.build("lesion_crops", config, tmp_path / "a[1] ** \\ {b}?")
    assert folder.parent.name == "a[1] ** \\ {b}?"
    stored = Records(folder)
    assert len(stored) == 5
    assert stored[4]["image"].shape == (8, 10, 12)


def test_scans_without_their_intercept_are_named_or_refused(cohort, config, tmp_path):
    shifted = []
    for patient in ("p2", "p1", "p3", "p4"):
        path = cohort.parent / f"{patient}.nii.gz"
        one = volume.read_image(path)
        volume.write(path, volume.Volume(one.array + np.int16(1024), one.affine))
        shifted.append(patient)
        if shifted == ["p2"]:
            folder = build.build("lesion_crops", config, tmp_path / "data")
            (note,) = json.loads((folder / "fingerprint.json").read_text())["notes"]
            assert note.startswith("the HU around a1 (")
    with pytest.raises(InputError, match=r"lesions\.csv: its scans are not in HU"):
        build.build("lesion_crops", config, tmp_path / "data")
    assert list((tmp_path / "data").glob("lesion_crops*")) == [folder]


def test_no_tensorflow_is_loaded(config, tmp_path):
    assert build.build("lesion_crops", config, tmp_path / "data")
    assert "tensorflow" not in sys.modules


def test_what_records_do_not_depend_on_rebuilds_nothing(cohort, config, tmp_path, calls):
    folder = build.build("lesion_crops", config, tmp_path / "data")
    assert len(calls) == 4
    assert json.loads((folder / "fingerprint.json").read_text())["config"] == {
        "manifest": str(cohort),
        "size_mm": [8, 10, 12],
    }
    table = pd.read_csv(cohort)
    table["age"], table["label"] = 41, 0
    table[::-1].to_csv(cohort, index=False)
    assert build.build("lesion_crops", config, tmp_path / "data") == folder
    assert len(calls) == 4


@pytest.mark.parametrize("change", ["image", "mask", "size", "overwrite"])
def test_what_they_do_depend_on_does(cohort, config, tmp_path, calls, change):
    folder = build.build("lesion_crops", config, tmp_path / "data")
    before = sorted(path.name for path in folder.iterdir())
    if change == "image":
        (cohort.parent / "p1.nii.gz").write_bytes((cohort.parent / "p2.nii.gz").read_bytes())
    if change == "mask":  # everything is lesion: every voxel of the number 1 counts
        scan = volume.read_image(cohort.parent / "p1.nii.gz")
        full = volume.Volume(np.ones(scan.shape, bool), scan.affine)
        volume.write(cohort.parent / "p1-mask.nii.gz", full)
        _only_label(cohort)
    if change == "size":
        config["size_mm"] = (8, 10, 10)
    again = build.build("lesion_crops", config, tmp_path / "data", overwrite=change == "overwrite")
    assert len(calls) == 8
    assert (again == folder) == (change == "overwrite")
    assert sorted(path.name for path in again.iterdir()) == before
    assert not list((tmp_path / "data").glob(".partial-*"))


def _only_label(cohort):
    table = pd.read_csv(cohort)
    table[table.lesion_id != "b2"].drop(columns="mask_label").to_csv(cohort, index=False)


def test_all_bad_scans_are_named_and_nothing_is_left(cohort, config, tmp_path):
    for name in ("p2.nii.gz", "p4-mask.nii.gz"):
        path = cohort.parent / name
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError) as caught:
        build.build("lesion_crops", config, tmp_path / "data")
    for word in ("a1", "p2.nii.gz", "d1", "p4-mask.nii.gz"):
        assert word in str(caught.value)
    left = {path.name for path in (tmp_path / "data").iterdir()}
    assert left <= {".lock", "file_hashes.json"}


def test_a_full_disk_is_named_and_nothing_is_left(config, tmp_path, monkeypatch):
    def write(path, iterator):
        raise RuntimeError(f"write() failed: {os.strerror(errno.ENOSPC)}; writing {path}")

    monkeypatch.setattr(file_adapters.ArrayRecordFileAdapter, "write_examples", write)
    with pytest.raises(InputError, match="no space left"):
        build.build("lesion_crops", config, tmp_path / "data")
    assert not list((tmp_path / "data").glob("*lesion*"))


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("lesion_crop", {}, "Did you mean 'lesion_crops'"),
        ("lesion_crops", {}, "manifest"),
        ("lesion_crops", {"manifests": "x"}, "Did you mean 'manifest'"),
        ("lesion_crops", {"manifest": "x", "phantom": {}}, "not both"),
        ("lesion_crops", {"phantom": {"patient": 3}}, "Did you mean 'patients'"),
        ("lesion_crops", {"manifest": "x", "size_mm": 8}, "size_mm"),
        ("medmnist3d", {}, "npz"),
        ("medmnist3d", {"npz": "x", "size_mm": (8, 8, 8)}, "size_mm"),
    ],
)
def test_wrong_use_is_said(name, fields, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        build.build(name, fields, tmp_path)


def test_medmnist_keeps_its_split_and_labels(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for key, count in (("train", 5), ("val", 2), ("test", 3)):
        images = rng.integers(0, 2, (count, 6, 6, 6), np.uint8) * np.uint8(255)
        arrays |= {f"{key}_images": images, f"{key}_labels": rng.integers(0, 2, (count, 1))}
    np.savez(tmp_path / "x.npz", **arrays)
    folder = build.build("medmnist3d", {"npz": tmp_path / "x.npz"}, tmp_path / "data")
    table = pd.read_csv(folder / "lesions.csv")
    stored = Records(folder)
    assert table.split.tolist() == ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    labels = np.concatenate([arrays[f"{key}_labels"][:, 0] for key in ("train", "val", "test")])
    assert table.label.tolist() == labels.tolist()
    images = np.concatenate([arrays[f"{key}_images"] for key in ("train", "val", "test")])
    for i, image in enumerate(images):
        np.testing.assert_array_equal(stored[i]["image"], image)
        np.testing.assert_array_equal(stored[i]["mask"], image > 0)


def test_the_command_prints_the_folder(config, tmp_path, capsys):
    flags = [f"--config={json.dumps(config)}", f"--data_dir={tmp_path / 'data'}"]
    assert build.main(["lesion_crops", *flags, "--num-processes=1"]) == 0
    out, err = capsys.readouterr()
    assert os.path.exists(os.path.join(out.strip(), "lesions.csv"))
    assert not err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config={"], "not JSON"),
        (["--config=[]"], "give an object"),
        (["--config=manifest.csv"], "not JSON"),
        ([], "manifest"),
    ],
)
def test_the_command_says_wrong_use_in_a_line(flags, message, tmp_path, capsys):
    assert build.main(["lesion_crops", *flags, f"--data_dir={tmp_path}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("datasets.build: ")
    assert message in err
    assert err.count("\n") == 1


def test_the_command_refuses_formats_without_random_access(capsys):
    with pytest.raises(SystemExit, match="2"):
        build.main(["lesion_crops", "--file_format=tfrecord"])
    assert "array_record" in capsys.readouterr().err


def _scans(config):
    return extraction.scans(manifest.read_manifest(config["manifest"]))


def _params(config):
    return CropParams(config["size_mm"])

"""Beam writes the same examples; without it, the extra is named."""

import importlib.util
import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from datasets import build, records
from datasets.lesion_crops import lesion_crops_dataset_builder
from dtc_jax.crops import extraction, processes
from dtc_jax.errors import InputError, UsageError
from dtc_jax.training.batches import Records

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
ONE_PROCESS = "direct_running_mode=in_memory"
_cut_scan = extraction.cut_scan


def needs_beam(test):
    """Marks a test that needs Beam, whose own warnings do not matter."""
    has_none = pytest.mark.skipif(not HAS_BEAM, reason="apache-beam (extra: beam) is not installed")
    return pytest.mark.extras(has_none(pytest.mark.filterwarnings("ignore")(test)))


@pytest.mark.skipif(HAS_BEAM, reason="apache-beam is installed")
def test_the_missing_extra_is_named(config, tmp_path):
    with pytest.raises(InputError, match=r"dtc-jax\[beam\]"):
        build.build("lesion_crops", config, tmp_path, use_beam=True)
    assert not list(tmp_path.glob("lesion_crops*"))


@needs_beam
@pytest.mark.parametrize("builder", ["lesion_crops", "ct_patches"])
def test_beam_writes_the_same_examples(builder, config, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_SHARD_SIZE", 2)
    if builder == "ct_patches":
        config = config | {"lesion_share": 1.0}  # these scans have no lungs to draw others from
    alone = build.build(builder, config, tmp_path / "alone")
    beam = build.build(builder, config, tmp_path / "beam", beam_options=ONE_PROCESS, use_beam=True)
    assert alone.name == beam.name
    pd.testing.assert_frame_equal(
        pd.read_csv(alone / "lesions.csv"), pd.read_csv(beam / "lesions.csv")
    )
    for one, other in zip(Records(alone), Records(beam), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@needs_beam
def test_more_than_ten_shards_keep_their_lengths(cohort, config, tmp_path):
    one, other = (cohort.parent / f"{name}.nii.gz" for name in ("p1", "p3"))
    table = pd.read_csv(cohort)
    rows = []
    for number in range(13):  # of one lesion each, but for the third and the last: of two
        scan = table[table.image == (one if number in (2, 12) else other).name]
        copied = f"q{number:02d}.nii.gz"
        (cohort.parent / copied).write_bytes((cohort.parent / scan.image.iloc[0]).read_bytes())
        ids = [f"q{number:02d}-{i}" for i in range(len(scan))]
        rows.append(scan.assign(image=copied, patient_id=f"q{number:02d}", lesion_id=ids))
    pd.concat(rows).to_csv(cohort, index=False)
    beam = build.build(
        "lesion_crops", config, tmp_path / "beam", use_beam=True, beam_options=ONE_PROCESS
    )
    info = json.loads((beam / "dataset_info.json").read_text())
    (lengths,) = (split["shardLengths"] for split in info["splits"])
    assert lengths == ["2" if number in (2, 12) else "1" for number in range(13)]
    assert pd.read_csv(beam / "lesions.csv").lesion_id.tolist() == sorted(
        lesion for scan in rows for lesion in scan.lesion_id
    )


@needs_beam
@pytest.mark.skipif(processes.cores() < 2, reason="needs two cores")
def test_a_process_on_each_core_cuts_scans_and_what_they_say_comes_back(
    cohort, config, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("PIDS", str(tmp_path))
    table = pd.read_csv(cohort)
    table.loc[table.lesion_id == "d1", "mask_label"] = 7  # no voxel has it
    table.to_csv(cohort, index=False)
    (cohort.parent / "p2.nii.gz").write_bytes((cohort.parent / "p2.nii.gz").read_bytes()[:100])
    monkeypatch.setattr(lesion_crops_dataset_builder.extraction, "cut_scan", _cut_and_note)
    with pytest.raises(InputError, match=r"^2 lesions cannot be used:\n.*a1.*\n.*d1.*") as error:
        build.build("lesion_crops", config, tmp_path / "data", use_beam=True)
    assert "Traceback" not in str(error.value)
    assert not list((tmp_path / "data").glob("lesion_crops*"))
    pids = {path.name for path in tmp_path.glob("*.pid")}
    assert len(pids) > 1
    assert f"{os.getpid()}.pid" not in pids
    assert "scan of lesion c1: seen" in capfd.readouterr().err


def _cut_and_note(scan, params):
    """Cuts a scan, and says which process did."""
    (pathlib.Path(os.environ["PIDS"]) / f"{os.getpid()}.pid").touch()
    return [*_cut_scan(scan, params), extraction.Note(f"{scan.title}: seen")]


@needs_beam
def test_medmnist_takes_no_beam(tmp_path):
    arrays = {}
    for key in ("train", "val", "test"):
        arrays |= {f"{key}_images": np.ones((2, 4, 4, 4), np.uint8), f"{key}_labels": [[0], [1]]}
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UsageError, match="without Beam"):
        build.build("medmnist3d", {"npz": str(tmp_path / "x.npz")}, tmp_path, use_beam=True)

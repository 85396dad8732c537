"""A sweep of segmenters that are evaluated on whole scans as well."""

import json
import pathlib
import re
import shutil

import pandas as pd
import pytest

from dtc_jax.sweep import local
from tests import cubes as cubes_lib

pytestmark = pytest.mark.extras  # each trial is two processes

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "vnet.py"
SIDE = cubes_lib.SIDE
_NODULES = [(0, 1), (0, 2), (1, 1), (1, 2)]
SWEEP = {
    "base": "full",
    "common": {
        "data.exclude_patients": (),
        "data.size_mm": (SIDE,) * 3,
        "preprocess.crop_mm": (12, 12, 12),
        "preprocess.spacing_mm": 1.0,
        "predict.crop_mm": (SIDE,) * 3,
        "predict.batch_size": 8,
        "predict.overlap": 0.1,
        "augment.shift_mm": 2.0,
        "model.widths": (4, 8),
        "model.convolutions": (1, 1),
        "train.epochs": 2,
        "train.batch_size": 8,
        "train.evaluate_every_epochs": 1,
    },
    "variants": {"full": {}, "se-none": {"model.se": "none"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def scans(chests, folder):
    """A manifest of two chests with two nodules each."""
    shutil.copytree(chests, folder / "scans")
    rows = [(f"s{i}", f"s{i}-{n}", f"{i}.nii.gz", f"{i}-mask.nii.gz", n) for i, n in _NODULES]
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "scans" / "scans.csv", index=False)
    return folder / "scans" / "scans.csv"


@pytest.fixture(scope="module")
def sweep(call, folder):
    cubes = cubes_lib.write(folder / "cubes")
    file = folder / "mine.py"
    file.write_text(f"def get_sweep():\n    return {SWEEP!r}\n")

    def sweep(*arguments):
        fields = [f"--config.data.manifest={cubes}", f"--config.data.folder={folder / 'data'}"]
        command = ["--mode=sweep", f"--config={CONFIG}:lidc", *fields, f"--sweep={file}"]
        return call(*command, f"--out={folder / 'out'}", "--retries=0", *arguments)

    return sweep


def test_each_trial_is_evaluated_once_it_is_trained(sweep, scans, folder, capsys, monkeypatch):
    gone = scans.with_name("1.nii.gz")
    kept = gone.read_bytes()
    gone.write_bytes(kept[:1000])
    assert sweep(f"--scans={scans}") == 1
    assert "2 of 2 trials failed" in (said := capsys.readouterr().err)
    assert "whole scans: " in said
    states = pd.read_csv(folder / "out" / "trials.csv").set_index("trial").state
    assert set(states) == {"failed"}
    trained = {p: p.stat().st_mtime for p in (folder / "out").glob("trials/*/metrics.json")}
    assert len(trained) == 2

    gone.write_bytes(kept)
    assert sweep(f"--scans={scans}") == 0
    assert {p: p.stat().st_mtime for p in trained} == trained  # not trained again
    trials = pd.read_csv(folder / "out" / "trials.csv")
    assert set(trials.state) == {"done"}
    table = pd.read_csv(folder / "out" / "ablation.csv").set_index("variant")
    for name in SWEEP["variants"]:
        own = next((folder / "out" / "trials").glob(f"{name}-seed*/scans/metrics.json"))
        figures = json.loads(own.read_text())
        false = figures["false_positives_per_scan"]
        assert table.false_positives_per_scan_n[name] == false["n"] == 2
        assert table.false_positives_per_scan[name] == pytest.approx(false["value"])
        assert table.scan_sensitivity[name] == pytest.approx(figures["sensitivity"]["value"])
    page = (folder / "out" / "ablation.html").read_text()
    assert "2 whole scans of 2 patients." in page
    assert "false positives a scan" in page
    assert "RAI-refractory" not in page
    assert "lesions found in whole scans" in page

    lines = (scans_csv := own.with_name("scans.csv")).read_text()
    scans_csv.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, lines))
    assert sweep(f"--scans={scans}") == 0
    assert "The scans have changed since" in (folder / "out" / "ablation.md").read_text()
    scans_csv.write_text(lines)
    assert sweep(f"--scans={scans}") == 0

    def never(*_):
        raise AssertionError("a trial was started")

    monkeypatch.setattr(local, "Child", never)
    before = (folder / "out" / "ablation.csv").read_bytes()
    assert sweep() == 0  # what was evaluated stays in the table
    assert (folder / "out" / "ablation.csv").read_bytes() == before

    capsys.readouterr()
    pd.read_csv(scans).head(2).to_csv(scans.with_name("fewer.csv"), index=False)
    assert sweep(f"--scans={scans.with_name('fewer.csv')}") == 1
    assert "another manifest of --scans" in capsys.readouterr().err

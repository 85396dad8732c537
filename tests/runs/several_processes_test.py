"""launch.py in two processes on loopback: one run, written once, as one process would give it."""

import json
import pathlib

import pandas as pd
import pytest

from dtc_jax.experiment import workdir
from tests import processes

pytestmark = pytest.mark.extras
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def arguments(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    fields = {
        "data.source": "manifest",
        "data.manifest": study,
        "data.folder": folder,
        "data.size_mm": "(16,16,16)",
        "preprocess.crop_mm": "(16,16,16)",
        "model.width": 4,
        "model.stages": 1,
        "optimizer.learning_rate": 0.02,
        "train.epochs": 2,
        "train.batch_size": 8,
        "train.evaluate_every_epochs": 1,
        "predict.batch_size": 8,
    }
    return [f"--config={ROOT / 'configs' / 'senet.py'}:demo"] + [
        f"--config.{name}={value}" for name, value in fields.items()
    ]


def _run(arguments, count=2):
    """Exit code, what it printed and the errors of each process."""

    def launch(address, number):
        several = (f"--coordinator={address}", f"--processes={count}", f"--process_id={number}")
        return ("launch.py", *arguments, *several)

    started = processes.start(count, launch)
    said = processes.ended(started)
    return [(process.returncode, *words) for process, words in zip(started, said, strict=True)]


def _lines(path):
    return path.read_text().splitlines()


def test_a_run_of_two_processes_is_that_of_one(call, arguments, tmp_path):
    first, second = _run([*arguments, f"--workdir={tmp_path / 'two'}"])
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "Everything is in" in first[1]
    assert "Everything is in" not in second[1]
    assert (tmp_path / "two" / "report" / "report.html").is_file()
    assert call(*arguments, f"--workdir={tmp_path / 'one'}") == 0
    keys = ["lesion_id", "split", "fold"]
    two, one = (
        pd.read_csv(tmp_path / name / "predictions.csv")
        .drop(columns="run")  # the name of its folder
        .sort_values(keys)
        .reset_index(drop=True)
        for name in ("two", "one")
    )
    pd.testing.assert_frame_equal(two, one, rtol=1e-3, atol=1e-4)
    rows = [
        [json.loads(line)["step"] for line in _lines(tmp_path / n / "metrics.jsonl")]
        for n in ("two", "one")
    ]
    assert rows[0] == rows[1]


def test_both_are_refused_where_another_run_has_the_folder(arguments, tmp_path):
    with workdir.locked(tmp_path):
        first, second = _run([*arguments, f"--workdir={tmp_path}"])
    assert first[0] == 1
    assert second[0] != 0
    assert "another process is using it" in first[2]
    assert "because process 0 failed" in second[2]
    assert not (tmp_path / "config.json").exists()

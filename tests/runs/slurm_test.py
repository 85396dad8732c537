"""The job file of a training, submitted to Slurm: it joins, is stopped, goes back, and ends."""

import os
import pathlib
import re
import subprocess

import pytest

from dtc_jax.training import logs
from tests import processes

pytestmark = pytest.mark.extras
ROOT = pathlib.Path(__file__).parents[2]
_CONFIG = '''"""A small training of many steps."""

from configs import senet


def get_config(variant=""):
    config = senet.get_config("demo")
    with config.unlocked():
        config.data.update(
            source="manifest", manifest={manifest!r}, folder={folder!r}, size_mm=(16, 16, 16)
        )
        config.preprocess.crop_mm = (16, 16, 16)
        config.model.update(width=4, stages=1)
        config.train.update(
            epochs=120, batch_size=8, log_every_steps=1, evaluate_every_epochs=10
        )
        config.predict.batch_size = 8
        config.write_report = False
    return config
'''


def _said(*command: object) -> str:
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": ""},  # a process of a job has one device
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _state(job: str) -> str:
    return re.search(r"JobState=(\w+)", _said("scontrol", "show", "job", job))[1]


def _steps(workdir: pathlib.Path) -> list[int]:
    return [row["step"] for row in logs.read(workdir) if "train/loss" in row]


def test_a_training_of_two_processes_is_requeued_and_ends(slurm, study, tmp_path):
    config, workdir, log = tmp_path / "mine.py", tmp_path / "run", tmp_path / "log"
    config.write_text(_CONFIG.format(manifest=str(study), folder=str(tmp_path / "data")))
    one_node = ("--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1")
    job = _said(
        *("sbatch", "--parsable", *one_node, f"--output={log}"),
        *("docs/slurm/train.sbatch", config, workdir),
    ).strip()
    processes.until(lambda: len(_steps(workdir)) > 3 or _state(job) == "FAILED", seconds=300)
    assert _state(job) == "RUNNING", log.read_text()[-2000:]
    _said("scancel", "--signal=TERM", job)  # as Slurm does two minutes before the end
    processes.until(lambda: _state(job) == "PENDING", seconds=120)
    stopped = len(_steps(workdir))
    _said("scontrol", "update", f"jobid={job}", "starttime=now")  # not two minutes later
    processes.until(lambda: _state(job) not in ("PENDING", "RUNNING", "COMPLETING"), seconds=600)
    text = log.read_text()
    assert _state(job) == "COMPLETED", text[-2000:]
    assert "everything is saved" in text
    assert "Everything is in" in text
    steps = _steps(workdir)
    assert stopped < len(steps)
    assert steps == list(range(1, len(steps) + 1))  # each once, and the same two processes' again
    assert (workdir / "metrics.json").is_file()

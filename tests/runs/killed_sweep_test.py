"""The sweep's own process is killed: its trial ends as well, and the same command goes on."""

import pathlib
import re
import signal
import subprocess
import sys

import pandas as pd
import pytest

import launch
from tests import processes
from tests.runs import sweep_test

pytestmark = pytest.mark.extras  # a trial is a process

ROOT = pathlib.Path(launch.__file__).parent


def _processes(workdir):
    """The processes that train in `workdir`."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            # Empty of one that has ended.
            words = (entry / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if f"--workdir={workdir}" in words:
            found.append(int(entry.name))
    return found


def test_the_trial_of_a_killed_sweep_ends_and_the_same_command_goes_on(study, tmp_path):
    if not pathlib.Path("/proc/self/cmdline").exists():
        pytest.skip("looks for the process in /proc")
    common = sweep_test.SWEEP["common"] | {"train.epochs": 60, "write_report": False}
    mine = sweep_test.SWEEP | {"variants": {"balanced": {}}, "common": common}
    (tmp_path / "mine.py").write_text(f"def get_sweep():\n    return {mine!r}\n")
    command = [
        *(sys.executable, f"{ROOT}/launch.py", "--mode=sweep"),
        *(f"--config={sweep_test.CONFIG}:demo", f"--sweep={tmp_path / 'mine.py'}"),
        *("--config.data.source=manifest", f"--config.data.manifest={study}"),
        *(f"--config.data.folder={tmp_path / 'data'}", f"--out={tmp_path / 'out'}"),
    ]
    trial = tmp_path / "out" / "trials" / "balanced-seed0"
    with (tmp_path / "said").open("w") as said:
        sweep = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
        processes.until(lambda: sweep.poll() is not None or (trial / "metrics.jsonl").exists())
        assert sweep.poll() is None, (tmp_path / "said").read_text()
        assert _processes(trial)
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    # At once: it waits for the trial, which saves its state.
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    log = tmp_path / "out" / "logs" / "balanced-seed0.log"
    assert "Stopped by SIGTERM" in log.read_text()
    assert "another process is using it" not in log.read_text()
    table = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert table.state.tolist() == ["done"]
    steps = [int(step) for step in re.findall(r"^step (\d+)/", log.read_text(), re.MULTILINE)]
    assert steps == sorted(steps)  # it goes on where it was

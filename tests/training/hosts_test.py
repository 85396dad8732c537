"""Several processes on loopback train one network: as one process would, and end together."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from concurrent import futures

import numpy as np
import pytest

from dtc_jax.training import checkpoint

pytestmark = pytest.mark.extras
ROOT = pathlib.Path(__file__).parents[2]
# Twelve steps of Adam; sums over devices associate differently.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}


def _port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _start(workdir, processes, *, devices=1, signalled=-1, at=0, number=signal.SIGTERM):
    address = f"127.0.0.1:{_port()}"
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    return [
        subprocess.Popen(
            (
                *(sys.executable, "-m", "tests.training.host_worker", address),
                *map(str, (workdir, processes, i, signalled, at, int(number))),
            ),
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": flags},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for i in range(processes)
    ]


def _run(workdir, processes, **more):
    """What each process says at its end."""
    started = _start(workdir, processes, **more)
    said = []
    for process, (out, errors) in zip(started, _ended(started), strict=True):
        assert process.returncode == 0, errors[-2000:]
        said.append(json.loads(out.splitlines()[-1]))
    return said


def _ended(processes):
    """What they print; read at once, as one with a full pipe would not get to its end."""
    with futures.ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(lambda process: process.communicate(timeout=900), processes))


def _rows(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "_second", "peak_memory")
    return [{k: v for k, v in row.items() if not k.endswith(clock)} for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process on one device gives, uninterrupted."""
    workdir = tmp_path_factory.mktemp("alone")
    return workdir, *_run(workdir, 1)


def test_four_two_and_one_process_go_on_with_each_other_and_end_as_one_does(tmp_path, alone):
    four = _run(tmp_path, 4, signalled=3, at=2)
    assert all(said["devices"] == said["processes"] == 4 for said in four)
    assert "Stopped by SIGTERM after step 5 of 12" in four[-1]["stopped"]
    assert all("another process after step 5 of 12" in said["stopped"] for said in four[:-1])
    assert checkpoint.steps(tmp_path / "checkpoints")[-1] == 5
    two = _run(tmp_path, 2, devices=2, signalled=0, at=6)
    assert all(said["devices"] == 4 for said in two)
    assert all("after step 9 of 12" in said["stopped"] for said in two)
    (one,) = _run(tmp_path, 1)
    workdir, reference = alone
    np.testing.assert_allclose(one["values"], reference["values"], **TOLERANCE)
    rows, wanted = _rows(tmp_path), _rows(workdir)
    assert [row.keys() for row in rows] == [row.keys() for row in wanted]
    for row, want in zip(rows, wanted, strict=True):
        assert row == pytest.approx(want, rel=1e-3, abs=1e-5)
    # Ten examples in two batches of eight rows: each counts once.
    assert {row["validation/n"] for row in rows if "validation/n" in row} == {10.0}


def test_a_process_that_was_killed_goes_on_and_ends_bit_for_bit(tmp_path, alone):
    for at in (4, 7):
        (process,) = _start(tmp_path, 1, signalled=0, at=at, number=signal.SIGKILL)
        process.communicate(timeout=900)
        assert process.returncode == -signal.SIGKILL
    (said,) = _run(tmp_path, 1)
    assert said == alone[1]
    assert _rows(tmp_path) == _rows(alone[0])


def test_two_processes_without_a_stop_give_what_one_gives(tmp_path, alone):
    both = _run(tmp_path, 2)
    for said in both:
        np.testing.assert_allclose(said["values"], alone[1]["values"], **TOLERANCE)
        assert said["best"] == pytest.approx(alone[1]["best"], rel=1e-3)
    assert both[0]["values"] == both[1]["values"]
    assert len(_rows(tmp_path)) == len(_rows(alone[0]))  # process 0 alone writes them


@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_process_is_killed_the_others_end_within_a_minute(tmp_path, killed):
    processes = _start(tmp_path, 2, signalled=killed, at=6, number=signal.SIGKILL)
    processes[killed].communicate(timeout=900)
    start = time.monotonic()
    _, errors = processes[1 - killed].communicate(timeout=120)
    assert processes[killed].returncode == -signal.SIGKILL
    assert time.monotonic() - start < 60
    assert processes[1 - killed].returncode != 0
    assert "has lost another one of 2" in errors

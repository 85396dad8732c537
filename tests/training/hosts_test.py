"""Several processes on loopback train one network: as one process would, and end together."""

import json
import signal
import time

import numpy as np
import pytest

from dtc_jax.training import checkpoint, logs
from tests import processes

pytestmark = pytest.mark.extras
# Twelve steps of Adam; sums over devices associate differently.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}


def _start(workdir, count, *, devices=1, kept=0, signalled=-1, at=0, number=signal.SIGTERM):
    def worker(address, i):
        fields = (workdir, count, i, kept, signalled, at, int(number))
        return ("-m", "tests.training.host_worker", address, *fields)

    return processes.start(count, worker, devices=devices)


def _run(workdir, count, **more):
    """What each process says at its end."""
    started = _start(workdir, count, **more)
    said = []
    for process, (out, errors) in zip(started, processes.ended(started), strict=True):
        assert process.returncode == 0, errors[-2000:]
        said.append(json.loads(out.splitlines()[-1]))
    return said


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
    rows, wanted = logs.without_clock(tmp_path), logs.without_clock(workdir)
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
    assert logs.without_clock(tmp_path) == logs.without_clock(alone[0])


def test_two_processes_without_a_stop_give_what_one_gives(tmp_path, alone):
    both = _run(tmp_path, 2)
    for said in both:
        np.testing.assert_allclose(said["values"], alone[1]["values"], **TOLERANCE)
        assert said["best"] == pytest.approx(alone[1]["best"], rel=1e-3)
    assert both[0]["values"] == both[1]["values"]
    assert both[0]["progress"].startswith("work: 1/1")
    assert both[1]["progress"] == ""  # one of them shows it
    assert len(logs.without_clock(tmp_path)) == len(
        logs.without_clock(alone[0])
    )  # process 0 alone writes them


def test_a_set_on_the_devices_gives_two_processes_the_same_bits_as_the_host(tmp_path):
    host = _run(tmp_path / "host", 2)
    stopped = _run(tmp_path / "kept", 2, kept=1, signalled=1, at=6)
    assert all("after step 9 of 12" in said["stopped"] for said in stopped)
    assert _run(tmp_path / "kept", 2, kept=1) == host
    assert logs.without_clock(tmp_path / "kept") == logs.without_clock(tmp_path / "host")


@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_process_is_killed_the_others_end_within_a_minute(tmp_path, killed):
    started = _start(tmp_path, 2, signalled=killed, at=6, number=signal.SIGKILL)
    started[killed].communicate(timeout=900)
    start = time.monotonic()
    _, errors = started[1 - killed].communicate(timeout=120)
    assert started[killed].returncode == -signal.SIGKILL
    assert time.monotonic() - start < 60
    assert started[1 - killed].returncode != 0
    assert "lost contact with another of the 2 processes" in errors

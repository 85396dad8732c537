"""The engine `local` on commands that do as a training does: end, fail, are killed, are stopped."""

import os
import signal
import sys

import pytest

from dtc_jax.errors import Stopped, UsageError
from dtc_jax.sweep import engines, local
from dtc_jax.sweep.jobs import Job


@pytest.fixture
def job(tmp_path):
    def job(name, code):
        log = tmp_path / "logs" / f"{name}.log"
        return Job(name, (sys.executable, "-c", code), tmp_path / name, log)

    return job


def run(jobs, retries=1, look=lambda running: None):
    return list(local.run(jobs, retries, look))


def test_a_job_that_fails_is_tried_again_and_sinks_no_other(job, tmp_path):
    again = tmp_path / "again"
    is_there = f"os.path.exists({str(again)!r})"
    dies_once = (
        f"import os\nif not {is_there}:\n    open({str(again)!r}, 'w')\n    os.kill(os.getpid(), 9)"
    )
    outcomes = run(
        [
            job("never", "import sys; print('launch.py: bad luck', file=sys.stderr); sys.exit(1)"),
            job("killed", "import os; os.kill(os.getpid(), 9)"),
            job("second", dies_once),
            job("wrong", "raise SystemExit(2)"),
            job("good", "print('fine')"),
        ]
    )
    assert [(o.name, o.code, o.attempts) for o in outcomes] == [
        ("never", 1, 2),
        ("killed", -9, 2),
        ("second", 0, 2),
        ("wrong", 2, 1),  # wrong use stays wrong
        ("good", 0, 1),
    ]
    assert outcomes[0].message == "bad luck"
    assert "SIGKILL" in outcomes[1].message
    assert outcomes[3].message == "exit code 2"
    assert (tmp_path / "logs" / "good.log").read_text() == "fine\n"


def test_no_retries_means_one_attempt(job):
    (outcome,) = run([job("never", "raise SystemExit(1)")], retries=0)
    assert (outcome.code, outcome.attempts) == (1, 1)


SAVES = """
import signal, sys, time
def save(*_):
    print('saved', flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print('ready', flush=True)
time.sleep(60)
"""


def test_a_signal_is_passed_on_and_nothing_further_is_started(job, tmp_path):
    jobs = [job("runs", SAVES), job("waits", "print('started')")]

    def look(running):
        if running[0].log.read_text() == "ready\n":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM"):
        run(jobs, look=look)
    assert jobs[0].log.read_text() == "ready\nsaved\n"
    assert not jobs[1].log.exists()


def test_an_unknown_engine_is_refused():
    assert engines.get("local") is local.run
    with pytest.raises(UsageError, match=r"--engine is 'loca'.*Did you mean 'local'"):
        engines.get("loca")

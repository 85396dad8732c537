"""A trial whose sweep is killed saves its state and ends; the same command goes on."""

import os
import signal
import subprocess
import sys

from dtc_jax.sweep import local
from tests import processes

# As the sweep's own process: runs one trial.
_DRIVER = """
import pathlib, sys
from dtc_jax.sweep import driver, local
from dtc_jax.sweep.jobs import Job

driver.SECONDS = 0.05
command, folder = sys.argv[1:-1], pathlib.Path(sys.argv[-1])
(outcome,) = local.run([Job("one", command, folder, folder / "log")], 0, lambda running: None)
print(outcome.code)
"""

# As a training: takes up what it saved.
_TRIAL = """
import os, pathlib, signal, sys, time
from dtc_jax.sweep import lifeline

lifeline.follow()
saved = pathlib.Path(sys.argv[1])
if saved.exists():
    print("goes on", flush=True)
    sys.exit()

def save(*_):
    saved.touch()
    sys.exit(75)

if sys.argv[2] == "saves":
    signal.signal(signal.SIGTERM, save)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lifeline.GRACE_SECONDS = 0.2
print(os.getpid(), flush=True)
time.sleep(60)
"""


def _start(folder, how):
    trial = [sys.executable, "-c", _TRIAL, str(folder / "saved"), how]
    return subprocess.Popen(
        [sys.executable, "-c", _DRIVER, *trial, str(folder)], stdout=subprocess.PIPE, text=True
    )


def _is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # One that has ended and whom nobody waits for, as in a container, is still listed.
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return listed.stdout.strip().startswith("Z") or not listed.stdout.strip()


def _killed(folder, how):
    """The number of a trial's process, whose sweep was killed once it ran."""
    sweep = _start(folder, how)
    log = folder / "log"
    number = int(
        processes.until(lambda: log.exists() and log.read_text().endswith("\n") and log.read_text())
    )
    assert not _is_gone(number)
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    return number


def test_a_trial_whose_sweep_is_killed_saves_its_state_and_the_same_command_goes_on(tmp_path):
    number = _killed(tmp_path, "saves")
    processes.until(lambda: _is_gone(number))
    assert (tmp_path / "saved").exists()
    assert _start(tmp_path, "saves").communicate()[0] == "0\n"
    assert (tmp_path / "log").read_text().endswith("goes on\n")


def test_one_that_cannot_end_is_ended(tmp_path):
    number = _killed(tmp_path, "cannot")
    processes.until(lambda: _is_gone(number))
    assert not (tmp_path / "saved").exists()


def test_what_a_trial_starts_gets_no_lifeline(tmp_path):
    names = "sorted(name for name in os.environ if name.startswith('DTC_JAX_LIFE'))"
    trial = (
        "import subprocess, sys\nfrom dtc_jax.sweep import lifeline\nlifeline.follow()\n"
        f"subprocess.run([sys.executable, '-c', \"import os; print({names})\"])"
    )
    for command, seen in ((trial, "[]"), (f"import os; print({names})", "['DTC_JAX_LIFELINE']")):
        log = tmp_path / seen
        assert local.Child([sys.executable, "-c", command], log).wait() == 0
        assert log.read_text() == f"{seen}\n"


def test_the_end_of_a_trial_leaves_no_pipe_open(tmp_path):
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        assert local.Child([sys.executable, "-c", ""], tmp_path / "log").wait() == 0
    assert len(os.listdir("/dev/fd")) == before

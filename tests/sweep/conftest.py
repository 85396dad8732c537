"""Commands that do as a training does, for the engines."""

import sys

import pytest

from dtc_jax.sweep import driver
from dtc_jax.sweep.jobs import Job

_SAVES = """
import signal, sys, time
def save(*_):
    print('saved', flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print('ready', flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """An engine looks after its jobs often."""
    monkeypatch.setattr(driver, "SECONDS", 0.05)


@pytest.fixture
def job(tmp_path):
    """A job that runs Python code."""

    def job(name, code):
        log = tmp_path / "logs" / f"{name}.log"
        return Job(name, (sys.executable, "-c", code), tmp_path / name, log)

    return job


@pytest.fixture
def saves(job):
    """A job that says 'ready', and ends by SIGTERM alone, as one that has saved its state."""
    return job("runs", _SAVES)

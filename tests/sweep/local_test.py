"""The engine `local` on commands that do as a training does: end, fail, are killed, are stopped."""

import os
import signal

import pytest

from dtc_jax.errors import InputError, Stopped, UsageError
from dtc_jax.sweep import engines, local
from dtc_jax.sweep.jobs import Resources


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
            job("nameless", "import os; os.kill(os.getpid(), 40)"),
            job("wrong", "raise SystemExit(2)"),
            job("good", "print('fine')"),
        ]
    )
    assert [(o.name, o.code, o.attempts) for o in outcomes] == [
        ("never", 1, 2),
        ("killed", -9, 2),
        ("second", 0, 2),
        ("nameless", -40, 2),  # a real-time signal, which has no name in Python
        ("wrong", 2, 1),  # wrong use stays wrong
        ("good", 0, 1),
    ]
    assert outcomes[0].message == "bad luck"
    assert "SIGKILL" in outcomes[1].message
    assert outcomes[3].message == "ended by signal 40"
    assert outcomes[4].message == "exit code 2"
    assert (tmp_path / "logs" / "good.log").read_text() == "fine\n"


def test_no_retries_means_one_attempt(job):
    (outcome,) = run([job("never", "raise SystemExit(1)")], retries=0)
    assert (outcome.code, outcome.attempts) == (1, 1)


def test_a_signal_is_passed_on_and_nothing_further_is_started(job, saves):
    jobs = [saves, job("waits", "print('started')")]

    def look(running):
        if running[0].log.read_text() == "ready\n":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM"):
        run(jobs, look=look)
    assert jobs[0].log.read_text() == "ready\nsaved\n"
    assert not jobs[1].log.exists()


def test_where_looking_fails_the_trial_has_saved_before_the_sweep_ends(saves):
    def look(running):
        if saves.log.exists() and "ready" in saves.log.read_text():
            raise OSError("the folder is gone")

    with pytest.raises(OSError, match="the folder is gone"):
        run([saves], look=look)
    assert saves.log.read_text() == "ready\nsaved\n"


def test_an_unknown_engine_is_refused():
    assert engines.get("local") is local.run
    with pytest.raises(UsageError, match=r"--engine is 'loca'.*Did you mean 'local'"):
        engines.get("loca")


@pytest.mark.parametrize(("engine", "extra"), [("ray", "ray"), ("slurm", "slurm")])
def test_an_engine_whose_library_is_missing_names_the_extra(monkeypatch, engine, extra):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"--engine={engine}.*pip install 'dtc-jax\[{extra}\]'"):
        engines.get(engine)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(share=0.5), "--share is for --engine=ray"),
        (Resources(cores=2), "--cores is for --engine=ray or slurm"),
        (Resources(ray_address="auto"), "--ray_address is for --engine=ray"),
        (Resources(slurm={"timeout_min": 5}), "--slurm is for --engine=slurm"),
    ],
)
def test_what_an_engine_does_not_give_is_refused(resources, words):
    with pytest.raises(UsageError, match=words):
        engines.get("local", resources)

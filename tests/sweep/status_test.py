"""The table of a sweep that runs: a line a trial, with its step, figure and time left."""

import json
import time

import pytest

from configs import senet
from dtc_jax.progress import Live
from dtc_jax.sweep import status
from dtc_jax.sweep.jobs import Job, Outcome
from dtc_jax.sweep.plan import Trial


def _log(folder, *epochs):
    folder.mkdir(exist_ok=True)
    rows = [{"step": 10 * e, "epoch": e, "validation/loss": 1 / e} for e in epochs]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_each_trial_has_a_line_and_the_end_is_told(tmp_path, monkeypatch, capsys):
    config = senet.get_config("demo")
    config.train.epochs = 20
    trials = [Trial(name, 0, config) for name in ("full", "without")]
    jobs = [Job(trial.name, (), tmp_path / trial.name, tmp_path / "log") for trial in trials]
    shown = []
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    live = Live()
    monkeypatch.setattr(live, "show", lambda *lines: shown.append(lines))
    table = status.Status(live, trials, done=0)
    _log(jobs[0].workdir, 2)
    clock[0] += 5
    table.look(jobs)
    assert shown[-1] == (
        "0 of 2 trials have ended",
        "  full-seed0     step 20, validation/loss 0.500",
        "  without-seed0  starts",
    )
    _log(jobs[0].workdir, 2, 4)
    clock[0] += 10
    table.look(jobs)
    # A tenth in 10 s since the first look; four fifths are left.
    assert shown[-1][1].endswith("step 40, validation/loss 0.250  80 s left")
    assert "s left" in shown[-1][0]
    table.look(jobs)  # too soon
    assert len(shown) == 2
    table.end(Outcome("full-seed0", 1, "bad luck", 2, 9.0))
    assert "trial 1/2: full-seed0: failed: bad luck, 2 attempts" in capsys.readouterr().err


def test_checkpoints_are_not_looked_into(tmp_path):
    config = senet.get_config("demo")
    _log(tmp_path, 1)
    (tmp_path / "checkpoints").mkdir()
    _log(tmp_path / "checkpoints" / "20.orbax-checkpoint-tmp", 2)  # which is gone in a moment
    assert status.of_training(tmp_path, config)[1].startswith("step 10,")


def test_every_network_of_a_trial_has_its_share(tmp_path):
    config = senet.get_config("demo").unlock()
    config.train.epochs = 20
    config.split.folds = 2
    config.candidates = {"alone": {}, "three": {"train": {"ensemble": 3}}}
    _log(tmp_path, 10)
    assert status.of_training(tmp_path, config)[0] == pytest.approx(0.5 / (2 * (1 + 3)))


def test_a_candidate_has_its_own_epochs(tmp_path):
    config = senet.get_config("demo").unlock()
    config.train.epochs = 20
    config.candidates = {"long": {"train": {"epochs": 40}}, "short": {}}
    for name in ("long", "short"):
        folder = tmp_path / "candidates" / name
        folder.mkdir(parents=True)
        _log(folder, 20)
    assert status.of_training(tmp_path, config)[0] == pytest.approx((0.5 + 1) / 2)


def test_elsewhere_than_on_a_terminal_lines_come_once_a_minute(monkeypatch, capsys):
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Live() as live:
        live.show("too soon")
        clock[0] += 61
        live.show("2 trials", "  one", "  two")
        live.show("too soon")
    assert capsys.readouterr().err == "2 trials\n  one\n  two\n"


@pytest.mark.parametrize(("seconds", "done", "text"), [(5, 0.01, ""), (60, 0.05, "  19 min left")])
def test_the_time_left_is_said_once_it_can_be_told(seconds, done, text):
    assert status._left(seconds, done, 1 - done) == text

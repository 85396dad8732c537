"""What a training shows of itself: its pace, its parameters, a trace, an experiment tracker."""

import json
import subprocess
import sys
import types

import jax
import numpy as np
import optax
import pytest

from dtc_jax.errors import InputError, Stopped, UsageError
from dtc_jax.training import pace, parameters, tracker, trainer

SCHEDULE = optax.linear_schedule(0.01, 0.0, 12)


def _fit(tiny, workdir, batches=None, **more):
    return tiny.fit(
        workdir,
        batches,
        make_optimizer=lambda total_steps: optax.sgd(SCHEDULE),
        evaluate_every=6,
        checkpoint_every=6,
        ema_decay=0.0,
        learning_rate=SCHEDULE,
        **more,
    )


def _rows(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "train/loss" in row]


def test_rows_of_training_have_rate_pace_and_norms(tiny, tmp_path):
    _fit(tiny, tmp_path)
    rows = _rows(tmp_path)
    rates = [row["train/learning_rate"] for row in rows]
    assert rates == pytest.approx([0.01 * (1 - step / 12) for step in (2, 5, 8, 11)])
    for row, rate in zip(rows, rates, strict=True):
        assert row["train/examples_per_second"] == pytest.approx(8 * row["train/steps_per_second"])
        # The mean over three steps, in which the rate falls: that of the last step is the least.
        ratio = row["train/update_norm"] / row["train/grad_norm"]
        assert rate < ratio < rate + 2.1 * 0.01 / 12
        assert row["train/param_norm"] > 0
        assert 2**26 < row["train/peak_memory"] < 2**40
        assert 0 <= row["train/wait_share"] < 1


@pytest.mark.parametrize(("are_done", "share"), [(True, 9 / 10), (False, 0.0)])
def test_reading_counts_as_waiting_where_nothing_is_left_to_compute(
    tiny, tmp_path, monkeypatch, are_done, share
):
    clock = [0.0]

    class Batches(tiny.TrainBatches):
        def __next__(self):
            clock[0] += 3
            return super().__next__()

    def ready(metrics):  # called in every third step, once the first steps have been timed
        clock[0] += 1

    monkeypatch.setattr(trainer, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(trainer.jax, "block_until_ready", ready)
    monkeypatch.setattr(trainer, "_are_done", lambda metrics: are_done)
    _fit(tiny, tmp_path, Batches())
    assert [row["train/wait_share"] for row in _rows(tmp_path)][-1] == pytest.approx(share)


def test_the_time_left_is_said_once_a_step_was_measured(tiny, tmp_path, capsys, monkeypatch):
    clock = [0.0]

    class Batches(tiny.TrainBatches):
        def __next__(self):
            clock[0] += 600 if self.position == 0 else 30  # the first one compiles
            return super().__next__()

    monkeypatch.setattr(trainer, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    _fit(tiny, tmp_path, Batches())
    said = capsys.readouterr().err
    assert said.count("A step takes") == 1
    assert "A step takes 30 s here, so the 8 steps left need about 4 min" in said
    assert said.index("A step takes") < said.index("step 6/12")


def test_the_pace_leaves_out_the_step_that_compiles():
    clock = pace.Pace()
    clock.add(60.0, 8)
    assert clock.take() == {}
    clock.add(0.5, 8, waited=0.25)
    clock.add(0.25, 8)
    clock.add(0.25)  # waiting for them
    assert clock.take() == {
        "steps_per_second": 2.0,
        "examples_per_second": 16.0,
        "wait_share": 0.25,
    }
    assert clock.take() == {}


def test_the_table_of_parameters_is_written_once(tiny, tmp_path):
    _fit(tiny, tmp_path)
    text = (tmp_path / "parameters.txt").read_text()
    assert "Dense_0/kernel     512 × 8       4,096\n" in text
    assert text.splitlines()[-1].split() == ["total", "of", "5", "4,121"]
    (tmp_path / "parameters.txt").write_text("mine")
    parameters.write_once({}, tmp_path)
    assert (tmp_path / "parameters.txt").read_text() == "mine"


def test_a_scalar_and_a_deep_name_have_their_place():
    table = parameters.table({"a": {"b": np.zeros(())}, "c": np.zeros((2, 3))})
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["a/b", "scalar", "1"],
        ["c", "2", "×", "3", "6"],
        ["total", "of", "2", "7"],
    ]


def test_a_trace_has_the_steps_asked_for(tiny, tmp_path):
    _fit(tiny, tmp_path, profile_steps=2)
    (trace,) = (tmp_path / "profile" / "plugins" / "profile").glob("*/*.xplane.pb")
    assert trace.stat().st_size > 1000
    steps = [
        event.name
        for plane in jax.profiler.ProfileData.from_file(str(trace)).planes
        for line in plane.lines
        for event in line.events
        if event.name == "train"
    ]
    assert len(steps) == 2


def test_without_being_asked_there_is_no_trace(tiny, tmp_path):
    _fit(tiny, tmp_path)
    assert not (tmp_path / "profile").exists()


def test_a_trace_ends_with_a_run_that_is_stopped(tiny, tmp_path):
    with pytest.raises(Stopped):
        _fit(tiny, tmp_path, tiny.TrainBatches(signal_at=3), profile_steps=9)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    _fit(tiny, tmp_path)


class _Run:
    """What MLflow's and W&B's runs have in common, and what they were told."""

    def __init__(self, run_id):
        self.id, self.info = run_id, types.SimpleNamespace(run_id=run_id)
        self.logged, self.closed = [], False

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.closed = True

    def log(self, metrics, step):
        self.logged.append((step, metrics))


@pytest.fixture(params=tracker.TRACKERS)
def fake(request, monkeypatch):
    """A module in the tracker's place: its name, the runs it started and their arguments."""
    module = types.ModuleType(request.param)
    module.__spec__ = types.SimpleNamespace()  # as an installed module has one
    module.runs, module.asked, module.params = [], [], []

    def start(**asked):
        module.asked.append(asked)
        module.runs.append(_Run("run-1"))
        return module.runs[-1]

    module.start_run = module.init = start
    module.log_metrics = lambda metrics, step: module.runs[-1].log(metrics, step)
    module.log_params = module.params.append
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


def test_a_tracker_gets_every_row_and_one_run(tiny, tmp_path, fake):
    def opened():
        return tracker.opened(fake.__name__, tmp_path, {"model.width": 8})

    with pytest.raises(Stopped):
        _fit(tiny, tmp_path, tiny.TrainBatches(signal_at=7), tracker=opened)
    _fit(tiny, tmp_path, tracker=opened)
    first, second = fake.runs
    assert first.closed
    assert second.closed
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(first.logged + second.logged) == len(rows)
    assert {"train/loss", "train/learning_rate"} <= set(first.logged[0][1])
    key = "run_id" if fake.__name__ == "mlflow" else "id"
    assert [asked[key] for asked in fake.asked] == [None, "run-1"]
    shown = fake.params or [asked["config"] for asked in fake.asked][:1]
    assert shown == [{"model.width": 8}]
    _fit(tiny, tmp_path, tracker=opened)  # is finished
    assert len(fake.runs) == 2


def test_an_unknown_tracker_and_one_that_is_not_installed_are_refused(monkeypatch):
    tracker.check("")
    with pytest.raises(UsageError, match=r"config\.train\.tracker is 'mlfow'.*'mlflow'"):
        tracker.check("mlfow")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'dtc-jax\[wandb\]'"):
        tracker.check("wandb")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere getrusage is right")
def test_the_peak_of_a_process_is_its_own_and_not_that_of_its_parent():
    """A large parent: the child would have its peak, if getrusage were asked."""
    code = """
import subprocess, sys
kept = b"x" * 2**29
asks = "from dtc_jax.training import pace; print(pace._peak_of_process())"
print(subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True).stdout)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**24 < int(done.stdout) < 2**29

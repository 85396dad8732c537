"""A sweep of two variants by the command line: one trial is killed, and nothing is done twice."""

import json
import os
import pathlib
import signal

import pandas as pd
import pytest

from dtc_jax.statistics import predictions_table, study
from dtc_jax.sweep import driver, local, status

pytestmark = pytest.mark.extras  # each trial is a process

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "senet.py"
# Both have the same network, which is compiled once for both.
SWEEP = {
    "base": "balanced",
    "margin": 0.1,
    "common": {
        "data.size_mm": (16, 16, 16),
        "preprocess.crop_mm": (16, 16, 16),
        "model.width": 4,
        "model.stages": 1,
        "optimizer.learning_rate": 0.02,
        "train.batch_size": 8,
        "train.epochs": 3,
        "train.log_every_steps": 1,
        "train.evaluate_every_epochs": 1,
    },
    "variants": {"even": {"loss.class_weight": "none"}, "balanced": {}},
}


@pytest.fixture(scope="module")
def sweep(call, study, tmp_path_factory):
    """Calls launch.py with a sweep."""
    folder = tmp_path_factory.mktemp("sweep")

    def sweep(**change):
        file = folder / "mine.py"
        file.write_text(f"def get_sweep():\n    return {SWEEP | change!r}\n")
        fields = ["source=manifest", f"manifest={study}", f"folder={folder / 'data'}"]
        return call(
            "--mode=sweep",
            f"--config={CONFIG}:demo",
            *(f"--config.data.{field}" for field in fields),
            f"--sweep={file}",
            f"--out={folder / 'out'}",
        )

    sweep.out = folder / "out"
    return sweep


def kill(job):
    """Kills the process of a job."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if f"--workdir={job.workdir}" in words:
            os.kill(int(entry.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def done(sweep):
    """The folder of the finished sweep, whose first trial was killed once it had trained a step."""
    if not pathlib.Path("/proc/self/cmdline").exists():
        pytest.skip("looks for the process in /proc")
    killed, look = [], status.Status.look

    def look_and_kill(self, running):
        look(self, running)
        if not killed and (running[0].workdir / "metrics.jsonl").exists():
            killed.append(running[0].name)
            kill(running[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status.Status, "look", look_and_kill)
        patch.setattr(driver, "SECONDS", 0.05)
        assert sweep() == 0
    assert killed == ["even-seed0"]
    return sweep.out


def figures(folder):
    return json.loads((folder / "ablation.json").read_text())


def test_a_killed_trial_goes_on_and_all_end(done):
    trials = pd.read_csv(done / "trials.csv").set_index("trial")
    assert trials.state.to_dict() == {"even-seed0": "done", "balanced-seed0": "done"}
    assert trials.attempts.to_dict() == {"even-seed0": 2, "balanced-seed0": 1}
    rows = (done / "trials" / "even-seed0" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == sorted(steps)
    table = (done / "ablation.md").read_text()
    assert "| even | loss.class_weight = none | 1 of 1 |" in table
    assert table.index("| even |") < table.index("| balanced |")  # as in the file
    assert "2 variants were looked at" in table
    for suffix, sign in (("csv", "difference_low"), ("tex", r"\toprule"), ("html", "<table")):
        assert sign in (done / f"ablation.{suffix}").read_text()


def test_the_figures_are_those_of_the_report(done):
    names = ("even-seed0", "balanced-seed0")
    paths = [done / "trials" / name / "predictions.csv" for name in names]
    table = pd.concat(map(predictions_table.read, paths), ignore_index=True)
    reported = study.study(table, study.Settings(margin=0.1, resamples=200))
    found = figures(done)["variants"]
    for name in names:
        section = reported["runs"][name]["primary"]["test"]
        estimates = found[name.removesuffix("-seed0")]["estimates"]
        assert estimates["auc"] == section["auc"]
        assert estimates["accuracy"] == section["rates"]["accuracy"]
    (entry,) = (
        entry
        for entry in reported["comparisons"]
        if (entry["kind"], entry["split"], entry["first"]["cohort"])
        == ("paired", "test", "primary")
    )
    assert {key: found["even"][key] for key in ("difference", "p", "non_inferiority")} == {
        key: entry[key] for key in ("difference", "p", "non_inferiority")
    }


def test_the_same_command_repeats_nothing(done, sweep, monkeypatch):
    def never(*_):
        raise AssertionError("a trial was started")

    monkeypatch.setattr(local, "Child", never)
    before = (done / "ablation.csv").read_bytes()
    assert sweep() == 0
    assert (done / "ablation.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"base": "even"}, "base: 'balanced' before, 'even' now"),
        ({"variants": {"balanced": {}}}, "trial even-seed0 is missing"),
        ({"common": SWEEP["common"] | {"train.epochs": 4}}, "train.epochs: 3 before, 4 now"),
    ],
)
def test_the_folder_of_another_sweep_is_refused(done, sweep, capsys, change, word):
    assert sweep(**change) == 1
    said = capsys.readouterr().err
    assert word in said
    assert "Choose another --out" in said

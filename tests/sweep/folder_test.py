"""The folder of a sweep: what may be added later, what may not, and who may work in it."""

import subprocess
import sys

import pandas as pd
import pytest

from configs import senet, vnet
from dtc_jax.errors import InputError
from dtc_jax.experiment import workdir
from dtc_jax.progress import Live
from dtc_jax.sweep import folder, plan
from dtc_jax.sweep.jobs import Outcome


def planned(names, seeds=(0,), base="full", **fields):
    """A plan whose variants were not checked."""
    config = senet.get_config("demo")
    with config.unlocked():
        config.model.update(fields)
    trials = tuple(plan.Trial(name, seed, config) for name in names for seed in seeds)
    return plan.Plan(base, 0.05, {name: {} for name in names}, trials)


def test_variants_and_seeds_may_be_added_and_nothing_else_changes(tmp_path):
    out = tmp_path / "out"
    for made in (planned(["full"]), planned(["wide", "full"], (0, 1))):
        with folder.claimed(out, made) as home:
            assert home == out
    for other, words in (
        (planned(["full"], (0, 1)), "trial wide-seed0 is missing"),
        (planned(["wide", "full"]), "trial wide-seed1 is missing"),
        (planned(["wide", "full"], (0, 1), base="wide"), "base: 'full' before, 'wide' now"),
        (planned(["wide", "full"], (0, 1), width=9), "model.width: 8 before, 9 now"),
    ):
        with pytest.raises(InputError, match=words), folder.claimed(out, other):
            pass


def test_trials_are_evaluated_on_whole_scans_by_one_rule(tmp_path):
    def planned(least_mm3):
        config = vnet.get_config("demo").unlock()
        config.predict.min_volume_mm3 = least_mm3
        return plan.Plan("full", 0.05, {"full": {}}, (plan.Trial("full", 0, config),))

    scans = tmp_path / "scans.csv"
    scans.write_text("patient_id,image\np,a.nii\n")
    for given in ({}, {"scans": scans}):
        out = tmp_path / f"out{len(given)}"
        with folder.claimed(out, planned(5.0), **given):
            pass
        if not given:
            with folder.claimed(out, planned(9.0)):  # it changes no patch
                pass
        refused = pytest.raises(InputError, match=r"predict\.min_volume_mm3: .* before, 200\.0 now")
        with refused, folder.claimed(out, planned(200.0), scans):
            pass
    with refused, folder.claimed(out, planned(200.0)):  # nor where they were evaluated before
        pass


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = pytest.raises(InputError, match="Choose another --out")
    with refused, folder.claimed(tmp_path, planned(["full"])):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_sweep_waits_for_the_trials_of_one_that_was_killed(tmp_path, capsys):
    (trial,) = planned(["full"]).trials
    home = folder.workdir_of(tmp_path, trial)
    holds = (
        "import pathlib, sys, time\nfrom dtc_jax.experiment import workdir\n"
        "with workdir.locked(pathlib.Path(sys.argv[1])):\n    print('has it', flush=True)\n"
        "    time.sleep(1.5)"
    )
    with Live() as live:
        folder.wait(tmp_path, [trial], live)
        assert not list(tmp_path.iterdir())  # nobody has it, and nothing was written
        command = [sys.executable, "-c", holds, str(home)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"has it\n"
            folder.wait(tmp_path, [trial], live)
            assert not workdir.is_in_use(home)
    assert process.returncode == 0
    said = "".join(capsys.readouterr())
    assert said.count("full-seed0: its folder is still in use") == 1


def test_a_trials_configuration_is_a_file_that_gives_it_back(tmp_path):
    (trial,) = planned(["full"]).trials
    job = folder.job(tmp_path, trial, ("launch.py",))
    space: dict = {}
    exec((tmp_path / "configs" / "full-seed0.py").read_text(), space)
    again = space["get_config"]()
    assert again.to_dict() == trial.config.to_dict()
    assert again.preprocess.crop_mm == (32, 32, 32)
    assert again.is_locked
    assert job.command[-2:] == (
        f"--config={tmp_path}/configs/full-seed0.py",
        f"--workdir={tmp_path}/trials/full-seed0",
    )


def test_how_trials_ended_is_kept_from_one_call_to_the_next(tmp_path):
    trials = planned(["full", "wide"]).trials
    record = folder.Record(tmp_path, trials)
    record.add(Outcome("wide-seed0", -9, "ended by SIGKILL, or so", 2, 61.2))
    assert folder.failed(tmp_path) == {"wide-seed0": "ended by SIGKILL, or so"}
    again = folder.Record(tmp_path, trials)
    again.add(Outcome("full-seed0", 0, "", 1, 10.0))
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False).set_index("trial")
    assert table.state.to_dict() == {"full-seed0": "done", "wide-seed0": "failed"}
    assert table.attempts.astype(str).to_dict() == {"full-seed0": "1", "wide-seed0": "2"}
    again.reopen([trial for trial in trials if trial.name == "wide-seed0"])
    assert folder.failed(tmp_path) == {}  # while it is tried again
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False).set_index("trial")
    assert table.state.to_dict() == {"full-seed0": "done", "wide-seed0": "open"}
    again.add(Outcome("wide-seed0", 0, "", 1, 10.0))
    assert folder.failed(tmp_path) == {}

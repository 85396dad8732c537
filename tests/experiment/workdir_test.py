"""A run's folder belongs to what it was started on, and to nothing that was refused."""

import json
import platform
import subprocess
import sys

import pandas as pd
import pytest

from configs import senet, vnet
from dtc_jax.errors import InputError
from dtc_jax.experiment import checks, workdir
from dtc_jax.runs import train
from dtc_jax.tasks import fields


def _config(manifest):
    config = vnet.get_config("demo")
    config.data.source, config.data.manifest = "manifest", str(manifest)
    config.data.folder = str(manifest.parent / "data")
    return config


def test_a_refused_start_leaves_no_folder_behind(tmp_path):
    (tmp_path / "empty.csv").write_text("patient_id,lesion_id,image,mask\n")
    for name, words in (("gone.csv", "no such file"), ("empty.csv", "has a header but no rows")):
        with pytest.raises(InputError, match=words):  # and not: of another configuration
            train.run(_config(tmp_path / name), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_refused_call_leaves_what_was_there(tmp_path):
    config, folder = _config(tmp_path / "gone.csv"), tmp_path / "run"
    workdir.claim(folder, config)  # a run that was started when the manifest was still there
    before = (folder / "config.json").read_bytes()
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="no such file"):
        train.run(config, folder)
    assert (folder / "config.json").read_bytes() == before
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match="contains files but no config"):
        train.run(config, folder)
    assert (folder / "mine.txt").read_text() == "kept"


def test_a_start_removes_what_a_killed_one_was_writing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = tmp_path / "run" / f".partial-{platform.node()}-{process.pid}-x"
    workdir.claim(tmp_path / "run", _config(tmp_path / "lesions.csv"))
    left.mkdir()
    workdir.claim(tmp_path / "run", _config(tmp_path / "lesions.csv"))
    assert not left.exists()


def test_a_run_from_before_profile_and_tracker_goes_on_with_them(tmp_path):
    config = _config(tmp_path / "lesions.csv").unlock()
    old = config.copy_and_resolve_references()
    del old.train.profile_steps, old.train.tracker
    workdir.claim(tmp_path / "run", old)
    config.train.update(profile_steps=3, tracker="mlflow")
    workdir.claim(tmp_path / "run", config)
    workdir.claim(tmp_path / "old", old)
    stored = workdir.read_config(tmp_path / "old").unlock()
    stored.train.batch_size = stored.predict.batch_size = 8  # the tests have eight devices
    checks.check(stored)
    assert fields.essence(old) == fields.essence(config)  # the same network


HOLDS = """
import fcntl, sys, time
with open(sys.argv[1], "a") as handle:
    fcntl.lockf(handle, fcntl.LOCK_EX)
    print("holds it", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_has_ended_however_it_ends(tmp_path):
    folder = tmp_path / "run"
    config = _config(tmp_path / "lesions.csv")
    with workdir.claimed(folder, config):
        pass
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, folder / ".lock"], stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "holds it\n"
        before = (folder / "config.json").read_bytes()
        with pytest.raises(InputError, match="another process is using it"):
            train.run(config, folder)
        assert (folder / "config.json").read_bytes() == before  # and not removed
        other.kill()
    with workdir.claimed(folder, config) as free:
        assert free == folder


UNGUARDED = """
import math, pathlib, sys
from dtc_jax.crops import processes
from dtc_jax.experiment import workdir
processes._ALONE_SECONDS = -1
with workdir.locked(pathlib.Path(sys.argv[1])):
    print(list(processes.ordered_map(math.sqrt, [1.0, 4.0], 2)))
"""


@pytest.mark.extras
def test_a_worker_that_runs_an_unguarded_script_again_is_told_so_before_the_lock(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = [sys.executable, str(script), str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode
    assert "below if __name__ == '__main__':" in ended.stderr
    assert "another process is using it" not in ended.stderr


def test_a_run_from_before_there_was_a_second_task_is_a_classification(tmp_path):
    config = senet.get_config("demo")
    workdir.claim(tmp_path / "run", config)
    path = tmp_path / "run" / "config.json"
    fields = json.loads(path.read_text())
    assert fields.pop("task") == "classification"
    path.write_text(json.dumps(fields))
    assert workdir.read_config(tmp_path / "run").task == "classification"
    workdir.claim(tmp_path / "run", config)
    with pytest.raises(InputError, match="task: 'classification' before, 'segmentation' now"):
        workdir.claim(tmp_path / "run", vnet.get_config("demo"))


@pytest.mark.parametrize("column", ["uptake", "margin", "weight", "texture"])
def test_a_run_is_bound_to_the_columns_that_it_learns_from(tmp_path, column):
    config = senet.get_config("demo").unlock()
    config.loss.update(graded="uptake", auxiliary={"margin": 0.1}, lesion_weight="weight")
    config.candidates = {"one": {}, "two": {"loss": {"graded": "texture"}}}
    rows = pd.DataFrame({"lesion_id": ["b", "a"], "patient_id": ["q", "p"], "fold": 0})
    rows = rows.assign(split="train", label=[0, 1], uptake=[1, 2], margin=[1.0, None], weight=2.0)
    rows = rows.assign(texture=["3", ""], age=[50, 60])
    workdir.claim_data(tmp_path, config, rows, "crops")
    same = rows.iloc[::-1].astype({"uptake": float}).assign(age=[1, 2], texture=[None, 3.0])
    workdir.check_data(tmp_path, config, same, "crops")
    for changed in (rows.assign(**{column: [1.5, 2]}), rows.drop(columns=column)):
        with pytest.raises(InputError, match=rf"on other data \(different: column {column}\)"):
            workdir.check_data(tmp_path, config, changed, "crops")
    path = tmp_path / workdir.DATA
    known = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in known.items() if not k.startswith("column")}))
    workdir.claim_data(tmp_path, config, changed, "crops")  # a run of before goes on
    workdir.check_data(tmp_path, senet.get_config("demo"), changed, "crops")


def test_what_decides_on_hard_negatives_may_not_change_when_some_are_collected(tmp_path):
    def changed(config, **values):
        other = config.copy_and_resolve_references().unlock()
        other.predict.update(values)
        return other

    config = vnet.get_config("demo").unlock()
    workdir.claim(tmp_path / "none", config)
    workdir.check(tmp_path / "none", changed(config, min_volume_mm3=9.0, lesion_threshold=0.5))
    config.train.hard_negatives.update(rounds=1, after_epochs=1)
    workdir.claim(tmp_path / "some", config)
    workdir.check(tmp_path / "some", changed(config, lesion_threshold=0.5))  # collects the same
    for name, value in (("min_volume_mm3", 9.0), ("overlap", 0.1), ("connectivity", 6)):
        with pytest.raises(InputError, match=rf"predict\.{name}: .* before, {value} now"):
            workdir.check(tmp_path / "some", changed(config, **{name: value}))

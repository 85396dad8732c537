"""The command line end to end, on a study of 22 patients with lesions of 16 mm."""

import json
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from jax.experimental.compilation_cache import compilation_cache

import launch
from dtc_jax.training import result

ROOT = pathlib.Path(launch.__file__).parent
CONFIG = f"{ROOT}/configs/senet.py"
TINY = [
    "--config.data.source=manifest",
    "--config.data.size_mm=(16,16,16)",
    "--config.preprocess.crop_mm=(16,16,16)",
    "--config.preprocess.spacing_mm=1.0",
    "--config.model.width=4",
    "--config.model.stages=1",
    "--config.optimizer.learning_rate=0.02",
    "--config.train.batch_size=8",
    "--config.train.epochs=4",
    "--config.train.evaluate_every_epochs=1",
    "--config.train.log_every_steps=1",
    "--config.report.margin=0.1",
    "--config.write_report=False",
]
COLUMNS = (
    "run,cohort,split,fold,patient_id,lesion_id,center,diameter_mm,age,sex,label,score,threshold,"
    "threshold_source,decision"
)


@pytest.fixture(scope="module", autouse=True)
def _compile_once(pytestconfig):
    """Every run compiles anew; JAX's cache makes that cheap, as it does for a user."""
    patch = pytest.MonkeyPatch()
    folder = str(pytestconfig.cache.mkdir("jax-compiled"))
    patch.setenv("JAX_COMPILATION_CACHE_DIR", folder)
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    former = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], folder)
    compilation_cache.reset_cache()
    yield
    patch.undo()
    for name, value in former.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def train(call, study, tmp_path_factory):
    """Calls launch.py to train in a workdir; the crops are built once for all."""
    data = tmp_path_factory.mktemp("data")

    def train(workdir, *arguments, config=CONFIG):
        fields = [f"--config.data.manifest={study}", f"--config.data.folder={data}"]
        return call(f"--config={config}:demo", *TINY, *fields, f"--workdir={workdir}", *arguments)

    return train


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    """The workdir of a finished run."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    assert train(workdir, "--config.write_report=True") == 0
    return workdir


def figures(workdir):
    return json.loads((workdir / "metrics.json").read_text())


def predictions(workdir):
    return pd.read_csv(workdir / "predictions.csv", dtype={"patient_id": str, "lesion_id": str})


def test_a_run_leaves_what_the_readme_lists(trained, capsys):
    for name in ("config.json", "metrics.jsonl", "metrics.json", "baselines.csv", "data.json"):
        assert (trained / name).is_file(), name
    assert list((trained / "tensorboard").glob("events.*"))
    assert list((trained / "checkpoints").iterdir())
    table = predictions(trained)
    assert ",".join(table.columns) == COLUMNS
    assert len(table) == table.lesion_id.nunique() == 43  # 44 less the one without a label
    assert table.groupby("patient_id").split.nunique().max() == 1
    assert set(table[table.cohort == "external"].split) == {"test"}
    assert table.threshold.nunique() == 1
    assert (table.decision == (table.score >= table.threshold)).all()
    known = figures(trained)
    test = known["network"]["primary"]["test"]
    for name in ("auc", "accuracy", "sensitivity", "specificity", "ppv", "npv"):
        assert {"value", "low", "high", "n", "patients"} <= set(test[name])
    assert test["lesions"] == (table.split[table.cohort == "primary"] == "test").sum()
    assert "validation" in test["threshold"]["source"]
    assert set(known["baselines"]) == {"majority", "diameter", "box_extent", "features"}
    assert known["network"]["primary"]["train"]["auc"]["value"] > 0.9  # brightness is easy to learn
    assert (trained / "report" / "report.html").is_file()
    statistics = json.loads((trained / "report" / "statistics.json").read_text())
    assert statistics["settings"]["margin"] == 0.1
    assert statistics["settings"]["patient_truth"] == "any"


def test_evaluate_computes_the_same_figures_again(call, trained):
    names = ("predictions.csv", "baselines.csv", "metrics.json")
    before = {name: (trained / name).read_bytes() for name in names}
    for name in names:
        (trained / name).unlink()
    assert call("--mode=evaluate", f"--workdir={trained}") == 0
    assert {name: (trained / name).read_bytes() for name in names} == before


def test_a_finished_run_trains_no_further(train, trained, capsys):
    rows = (trained / "metrics.jsonl").read_bytes()
    before = (trained / "predictions.csv").read_bytes()
    assert train(trained) == 0
    assert (trained / "metrics.jsonl").read_bytes() == rows
    assert (trained / "predictions.csv").read_bytes() == before


def run_apart(study, workdir, *wrapper):
    """launch.py in a process of its own, with as many devices as this one has."""
    fields = [f"--config.data.manifest={study}", f"--config.data.folder={workdir.parent / 'data'}"]
    command = [sys.executable, f"{ROOT}/launch.py", f"--config={CONFIG}:demo", *TINY, *fields]
    return subprocess.Popen(
        [*wrapper, *command, f"--workdir={workdir}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_stopped_by_a_signal_ends_bit_for_bit_as_one_that_was_not(
    study, train, trained, tmp_path
):
    running = run_apart(study, tmp_path / "run")
    for line in running.stderr:
        if line.startswith("step 5/"):
            running.send_signal(signal.SIGTERM)
            break
    _, rest = running.communicate()
    assert running.returncode == 75, rest
    assert "same command" in rest
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert train(tmp_path / "run") == 0
    resumed, whole = result.read_best(tmp_path / "run"), result.read_best(trained)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, resumed.batch_stats, whole.batch_stats)
    assert predictions(tmp_path / "run").score.equals(predictions(trained).score)


def test_cross_validation_tests_every_lesion_once(train, tmp_path):
    workdir = tmp_path / "run"
    assert train(workdir, "--config.split.folds=3", "--config.train.epochs=2") == 0
    table = predictions(workdir)
    test = table[table.split == "test"]
    assert sorted(test.lesion_id) == sorted(table.lesion_id.unique())
    assert len(test) == 39
    folds = test.groupby("patient_id").fold.nunique()
    assert folds.max() == 1
    assert table.groupby("fold").threshold.nunique().max() == 1
    assert sorted(p.name for p in (workdir / "folds").iterdir()) == ["00", "01", "02"]
    pooled = figures(workdir)["network"]["primary"]["test"]
    assert pooled["lesions"] == 39
    assert len(pooled["auc_by_fold"]) == 3


WITH_CANDIDATES = f"""
import runpy

def get_config(arg=""):
    config = runpy.run_path({CONFIG!r})["get_config"](arg)
    with config.unlocked():
        config.candidates = {{
            "still": {{"optimizer": {{"learning_rate": 0.0}}}},
            "moving": {{"optimizer": {{"learning_rate": 0.02}}}},
        }}
    return config
"""


def test_the_candidate_that_is_best_on_validation_is_kept(train, tmp_path):
    path = tmp_path / "both.py"
    path.write_text(WITH_CANDIDATES)
    assert train(tmp_path / "run", "--config.train.epochs=2", config=path) == 0
    (losses,) = figures(tmp_path / "run")["candidates"]
    assert losses["moving"] < losses["still"]
    moving = result.read_best(tmp_path / "run" / "candidates" / "moving")
    assert losses["moving"] == moving.best_metrics["loss"]
    still = result.read_best(tmp_path / "run" / "candidates" / "still")
    assert still.best_metrics["loss"] == losses["still"]
    assert predictions(tmp_path / "run").score.std() > 0.01


def test_a_split_by_lesion_says_so_beside_its_figures(train, tmp_path, capsys):
    arguments = ("--config.split.unit=lesion", "--config.train.epochs=1")
    assert train(tmp_path / "run", *arguments, "--config.parallel=pmap") == 0
    assert "split by LESION" in capsys.readouterr().out
    assert any("split by LESION" in note for note in figures(tmp_path / "run")["notes"])


def refused(capsys, *words):
    """Checks that launch.py ended with one message, without a stack trace."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("launch.py: ") == 1
    message = said[said.index("launch.py: ") :]
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=configs/none.py"], ["configs/none.py", "no such config"]),
        ([f"--config={CONFIG}:dem"], ["no variant 'dem'"]),
        ([f"--config={CONFIG}:demo", "--config.model.widht=8"], ["widht", "width"]),
        ([f"--config={CONFIG}:demo", "--config.model.width=a"], ["width"]),
        ([f"--config={CONFIG}:demo", "--config.model.width=0"], ["config.model.width is 0"]),
        ([f"--config={CONFIG}:demo", "--config.model.norm=layer"], ["config.model.norm"]),
        ([f"--config={CONFIG}:demo", "--config.threshold=best"], ["threshold='best'"]),
        ([f"--config={CONFIG}:demo", "--config.parallel=xmap"], ["config.parallel"]),
        ([f"--config={CONFIG}:demo", "--config.train.batch_size=7"], ["batch_size is 7"]),
        (
            [f"--config={CONFIG}:demo", "--config.report.patient_truth=some"],
            ["config.report.patient_truth is 'some'", "any, all"],
        ),
        ([f"--config={CONFIG}:demo", "extra"], ["'extra' is not a flag"]),
        ([], ["--mode=train needs --config"]),
        (["--mode=pipeline"], ["--mode=pipeline needs --config"]),
        (["--mode=evaluate", "--workdir=run", "--scans="], ["--scans is empty"]),
        (["--mode=evaluate", "--workdir=run", "--lungs=a.nii"], ["--lungs is for --mode=predict"]),
        (["--mode=pipeline", f"--config={CONFIG}:demo"], ["two networks", "configs/pipeline.py"]),
        (["--mode=evaluate"], ["--workdir"]),
        (["--mode=evaluat"], ["evaluat"]),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    call, arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    refused(capsys, *words)
    assert not list(tmp_path.iterdir())  # nothing half-written


def _edited(study, folder, **columns):
    """A manifest beside the study's scans with other columns."""
    table = pd.read_csv(study).assign(**columns)
    path = study.parent / f"{folder.name}.csv"
    table.to_csv(path, index=False)
    return f"--config.data.manifest={path}"


def test_one_class_alone_cannot_be_trained_on(study, train, tmp_path, capsys):
    assert train(tmp_path / "run", _edited(study, tmp_path, label=1)) == 1
    refused(capsys, "RAI-avid (0)")


def test_fewer_patients_than_folds_is_said(study, train, tmp_path, capsys):
    assert train(tmp_path / "run", "--config.split.folds=30") == 2
    refused(capsys, "config.split.folds is 30, and there are 20 patients")


def test_all_that_is_wrong_with_a_manifest_is_said_at_once(study, train, tmp_path, capsys):
    table = pd.read_csv(study)
    table.loc[3, "lesion_id"] = table.lesion_id[2]
    table.loc[5, "image"] = "../p02.nii.gz"
    table["label"] = table.label.astype(object)
    table.loc[7, "label"] = 2
    path = study.parent / f"{tmp_path.name}.csv"
    table.to_csv(path, index=False)
    assert train(tmp_path / "run", f"--config.data.manifest={path}") == 1
    refused(capsys, "lesion_id", "image", "label", "row")


def test_a_truncated_scan_is_named(study, train, tmp_path, capsys):
    scan = study.parent / f"{tmp_path.name}.nii.gz"
    scan.write_bytes((study.parent / "p03.nii.gz").read_bytes()[:4000])
    images = pd.read_csv(study).image.replace("p03.nii.gz", scan.name)
    assert train(tmp_path / "run", _edited(study, tmp_path, image=images)) == 1
    refused(capsys, scan.name)


def test_a_workdir_of_another_config_is_refused(train, trained, capsys):
    assert train(trained, "--config.model.width=5") == 1
    refused(capsys, "model.width: 4 there, 5 now", "--workdir")


def test_a_run_whose_labels_have_changed_is_refused(study, train, trained, capsys):
    table = pd.read_csv(study, dtype={"label": "Int64"})
    before = study.read_bytes()
    try:
        table.assign(label=1 - table.label).to_csv(study, index=False)
        assert train(trained) == 1
    finally:
        study.write_bytes(before)
    refused(capsys, "labels", "have changed")


def test_a_folder_of_something_else_is_not_written_into(train, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert train(tmp_path) == 1
    refused(capsys, "holds files but no config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_full_disk_is_said_and_leaves_no_half_dataset(study, tmp_path):
    limited = ("bash", "-c", 'ulimit -f 20; exec "$@"', "bash")  # KiB a file
    running = run_apart(study, tmp_path / "run", *limited)
    _, said = running.communicate()
    assert running.returncode == 1, said
    assert "no space left" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "data").glob("lesion_crops*"))


@pytest.mark.parametrize("folder", ["", "empty"])
def test_evaluate_wants_the_folder_of_a_run(call, folder, tmp_path, capsys):
    assert call("--mode=evaluate", f"--workdir={tmp_path / folder}") == 1
    refused(capsys, "not the folder of a run")

"""Runs that end well: what they leave, that they go on, and that a finished one is not touched."""

import json
import pathlib
import shutil
import signal

import jax
import numpy as np
import pandas as pd
import pytest

import launch
from dtc_jax.training import result

CONFIG = f"{pathlib.Path(launch.__file__).parent}/configs/senet.py"
COLUMNS = (
    "run,cohort,split,fold,patient_id,lesion_id,center,diameter_mm,age,sex,label,score,threshold,"
    "threshold_source,decision"
)


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
    assert list((trained / "report" / "figures").glob("heat-*.png"))
    assert (trained / "report" / "tables" / "score-without-a-part.csv").is_file()
    occluded = pd.read_csv(trained / "occluded.csv")
    assert set(occluded.lesion_id) == set(table.lesion_id[table.split == "test"])
    statistics = json.loads((trained / "report" / "statistics.json").read_text())
    assert statistics["settings"]["margin"] == 0.1
    assert statistics["settings"]["patient_truth"] == "any"


@pytest.mark.extras
def test_a_run_may_have_any_name_that_a_file_system_takes(call, trained, tmp_path):
    """Tables and pages are UTF-8, and a text of a figure may have dollar signs."""
    odd = tmp_path / "a[1] $x_{$ <b>&\\ \n é肺 \udcff"
    shutil.copytree(trained, odd)
    (odd / "predictions.csv").unlink()
    shutil.rmtree(odd / "report")
    assert call("--mode=evaluate", f"--workdir={odd}") == 0
    assert (odd / "report" / "report.html").is_file()
    assert set(predictions(odd).run) == {odd.name.replace("\udcff", "\\xff")}


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


@pytest.mark.extras
def test_a_run_stopped_by_a_signal_ends_bit_for_bit_as_one_that_was_not(
    run_apart, train, trained, tmp_path
):
    running = run_apart(tmp_path / "run")
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


@pytest.mark.extras
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


@pytest.mark.extras
def test_a_split_by_lesion_says_so_beside_its_figures(train, tmp_path, capsys):
    arguments = ("--config.split.unit=lesion", "--config.train.epochs=1")
    assert train(tmp_path / "run", *arguments, "--config.parallel=pmap") == 0
    assert "split by LESION" in capsys.readouterr().out
    assert any("split by LESION" in note for note in figures(tmp_path / "run")["notes"])


def test_a_workdir_of_another_config_is_refused(train, trained, refused):
    assert train(trained, "--config.model.width=5") == 1
    refused("model.width: 4 before, 5 now", "--workdir")


def test_a_run_whose_labels_have_changed_is_refused(study, train, trained, refused):
    table = pd.read_csv(study, dtype={"label": "Int64"})
    before = study.read_bytes()
    try:
        table.assign(label=1 - table.label).to_csv(study, index=False)
        assert train(trained) == 1
    finally:
        study.write_bytes(before)
    refused("labels", "have changed")

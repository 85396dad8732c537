"""A run starts from another one's weights where shapes fit, and never from what it evaluates."""

import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.experiment import initial, network, report
from dtc_jax.runs import train

pytestmark = pytest.mark.extras  # a training after another


@pytest.fixture(scope="module")
def source(classifier, study, tmp_path_factory):
    """A run on the same scans under other names: other patients, as far as ids tell."""
    folder = tmp_path_factory.mktemp("source")
    table = pd.read_csv(study, dtype=str)
    for column in ("image", "mask"):
        table[column] = [str(study.parent / path) for path in table[column]]
    for name in pd.concat([table.image, table["mask"]]).unique():
        target = folder / name.rsplit("/", 1)[1]
        if not target.exists():
            shutil.copyfile(name, target)
    for column in ("image", "mask"):
        table[column] = table[column].str.rsplit("/", n=1).str[1]
    table[["patient_id", "lesion_id"]] = "other-" + table[["patient_id", "lesion_id"]]
    table.to_csv(folder / "lesions.csv", index=False)
    config = classifier.config.copy_and_resolve_references()
    config.data.update(manifest=str(folder / "lesions.csv"), folder=str(folder / "data"))
    config.train.epochs = 1
    train.run(config, folder / "run")
    return folder / "run"


@pytest.fixture
def config(classifier, source):
    config = classifier.config.copy_and_resolve_references().unlock()
    config.init_from = str(source)
    config.train.epochs = 1
    return config


def _leaves(folder):
    (member,) = network.load(folder).members
    leaves = jax.tree_util.tree_leaves_with_path((member.params, member.batch_stats))
    return {jax.tree_util.keystr(name): leaf for name, leaf in leaves}


def test_all_arrays_are_taken_where_the_networks_are_alike(config, source, tmp_path, capsys):
    config.optimizer.learning_rate = 0.0
    config.optimizer.weight_decay = 0.0
    train.run(config, tmp_path / "run")
    given, trained = _leaves(source), _leaves(tmp_path / "run")
    params = [name for name in given if name.startswith("[0]")]
    assert params
    for name in params:
        np.testing.assert_allclose(trained[name], given[name], atol=1e-6)
    assert f"start from run: {len(given)} arrays taken" in capsys.readouterr().out
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["init_from"] == str(source)
    record = json.loads((tmp_path / "run" / "init.json").read_text())
    assert record["arrays"][""] == {"taken": len(given), "random": []}
    assert record["weights"] == network.load(source).fingerprints["weights"]
    assert all(name.startswith("other-") for name in record["seen"]["patients"])
    report.write([tmp_path / "run" / "predictions.csv"], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("weights of the run run") >= 2  # among the choices and in CLAIM


def test_what_does_not_fit_starts_at_random_and_is_named(config, tmp_path, capsys):
    config.preprocess.mask = "none" if config.preprocess.mask == "channel" else "channel"
    train.run(config, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "init.json").read_text())["arrays"][""]
    assert len(record["random"]) == 1
    assert "stem" in record["random"][0]
    assert "start at random, since their shapes differ" in capsys.readouterr().out


def test_a_run_that_has_seen_a_patient_who_is_evaluated_is_refused(config, classifier, tmp_path):
    config.init_from = str(classifier.workdir)
    config.split.seed = 1  # another split of the same patients
    with pytest.raises(InputError, match="in validation or test here, such as p"):
        train.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_the_runs_before_it_have_seen_counts_as_well(config, source, tmp_path):
    train.run(config, tmp_path / "second")  # on the study, from the other cohort
    config.init_from = str(tmp_path / "second")
    other = json.loads((source / "config.json").read_text())
    config.data.update(manifest=other["data"]["manifest"], folder=other["data"]["folder"])
    config.split.seed = 1
    with pytest.raises(InputError, match="such as other-p"):
        train.run(config, tmp_path / "third")


def test_a_finished_run_does_not_need_the_run_that_it_started_from(config, source, tmp_path):
    moved = tmp_path / "source"
    shutil.copytree(source, moved)
    config.init_from = str(moved)
    first = train.run(config, tmp_path / "run").metrics
    shutil.rmtree(moved)
    assert train.run(config, tmp_path / "run").metrics == first
    assert initial.seen_besides(tmp_path / "run", config) >= {"other-p02"}


def test_several_networks_and_other_shapes_are_refused(config, folds, segmenter, tmp_path):
    config.init_from = str(folds.workdir)
    with pytest.raises(InputError, match="has 2 networks"):
        train.run(config, tmp_path / "run")
    config.init_from = str(segmenter.workdir)
    with pytest.raises(InputError, match=r"is missing, and nothing else records which"):
        train.run(config, tmp_path / "run")
    config.init_from = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not the folder of a run"):
        train.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_phantom_cohorts_share_their_patients_only_if_they_are_the_same(config):
    config.data.source = "phantom"
    population = initial._population(config)
    config.data.phantom.patients += 60  # P001 of a larger cohort is the same person
    assert initial._population(config) == population
    config.data.phantom.seed += 1
    assert initial._population(config) != population

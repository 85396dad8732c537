"""A finished classifier on a labelled cohort that it has not seen, beside the run's own test."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from dtc_jax import csv_reader
from dtc_jax.evaluation import new_cohort
from dtc_jax.experiment import folds, network
from dtc_jax.statistics import comparison

IDS = ("patient_id", "lesion_id")


@pytest.fixture(scope="module")
def cohort(study):
    """The scans of ten patients of the study as if they were of others."""
    table = pd.read_csv(study).iloc[2:22]
    table = table.assign(cohort="primary", patient_id="n" + table.patient_id)
    table.to_csv(study.parent / "hospital_b.csv", index=False)
    return study.parent / "hospital_b.csv"


@pytest.fixture(scope="module")
def judged(call, classifier, cohort):
    arguments = (f"--workdir={classifier.workdir}", f"--manifest={cohort}")
    assert call("--mode=evaluate", *arguments) == 0
    return classifier.workdir / "cohorts" / "hospital_b"


def _table(path):
    return csv_reader.read_table(path, IDS).set_index("lesion_id")


def test_the_network_and_the_baselines_are_those_of_the_run(judged, classifier):
    new, own = (_table(folder / "predictions.csv") for folder in (judged, classifier.workdir))
    assert set(new.cohort) == {"hospital_b"}  # the run has a cohort `primary` of its own
    assert set(new.split) == {"test"}
    np.testing.assert_allclose(new.score, own.loc[new.index].score, atol=1e-5)
    assert new.threshold.unique() == own.threshold.unique()
    assert (new.decision == (new.score >= new.threshold)).all()
    theirs, ours = (_table(folder / "baselines.csv") for folder in (judged, classifier.workdir))
    for name, part in theirs.groupby("run"):  # fitted on the same lesions, they score alike
        same = ours[ours.run == name].loc[part.index]
        np.testing.assert_allclose(part.score, same.score)
        np.testing.assert_allclose(part.threshold, same.threshold)
    assert {"majority", "diameter", "features"} <= set(theirs.run)


def test_the_auc_is_compared_with_the_runs_own_test(judged, classifier):
    figures = json.loads((judged / "metrics.json").read_text())
    new, own = (_table(folder / "predictions.csv") for folder in (judged, classifier.workdir))
    own = own[(own.split == "test") & (own.cohort == "primary")]
    sides = [
        (part.label.to_numpy(), part.score.to_numpy(), part.patient_id.to_numpy(str))
        for part in (own, new)
    ]
    expected = comparison.unpaired(*sides)
    (found,) = [entry for entry in figures["comparisons"] if entry["first"]["cohort"] == "primary"]
    assert found["second"]["cohort"] == "hospital_b"
    assert found["difference"]["value"] == pytest.approx(expected.estimate.value)
    assert found["patients"] == own.patient_id.nunique() + new.patient_id.nunique()
    assert figures["network"]["hospital_b"]["test"]["lesions"] == len(new) == 20
    assert set(figures["baselines"]) >= {"majority", "features"}


def test_the_report_shows_lesions_of_the_new_cohort(classifier, cohort, monkeypatch):
    shown = []
    monkeypatch.setattr(
        new_cohort.report, "write", lambda tables, out, run_artefacts: shown.append(run_artefacts)
    )
    trained = network.load_with_threshold(classifier.workdir, "classification")
    with trained.config.unlocked():
        trained.config.write_report = True
    new_cohort.evaluate(trained, cohort, classifier.workdir, set())
    (artefacts,) = shown
    assert {example.cohort for example in artefacts.examples} == {"hospital_b"}
    new = artefacts.occluded[artefacts.occluded.cohort == "hospital_b"]
    assert len(new) == 20
    assert new.without_inside.notna().all()


def test_several_networks_together_are_the_same_fold_as_their_baselines(classifier, cohort):
    trained = network.load_with_threshold(classifier.workdir, "classification")
    with trained.config.unlocked():
        trained.config.write_report = False
    twice = dataclasses.replace(trained, members=trained.members * 2)
    other = shutil.copy(cohort, cohort.with_name("hospital_c.csv"))
    new_cohort.evaluate(twice, other, classifier.workdir, set())
    written = classifier.workdir / "cohorts" / "hospital_c"
    for name in ("predictions.csv", "baselines.csv"):  # or the report finds none beside the other
        assert set(_table(written / name).fold) == {2}, name


def test_patients_whom_the_run_knows_are_refused_by_name(call, classifier, cohort, study, capsys):
    given = ("--mode=evaluate", f"--workdir={classifier.workdir}")
    assert call(*given, f"--manifest={study}") == 1
    said = capsys.readouterr().err
    assert "the run was trained or chosen on" in said
    own = _table(classifier.workdir / "predictions.csv")
    assert own.patient_id[own.split == "train"].min() in said
    table = pd.read_csv(cohort)
    tested = own.patient_id[own.split == "test"].iloc[0]
    table.loc[:1, "patient_id"] = tested.upper() + "\u200b"  # as another program spells it
    table.to_csv(study.parent / "spelled.csv", index=False)
    assert call(*given, f"--manifest={study.parent / 'spelled.csv'}") == 1
    assert "the run was already tested on 1 of its" in capsys.readouterr().err
    assert not (classifier.workdir / "cohorts" / "spelled").exists()


def test_a_segmenter_and_other_flags_are_refused(call, segmenter, classifier, capsys):
    assert call("--mode=evaluate", f"--workdir={segmenter.workdir}", "--manifest=a.csv") == 2
    assert "--scans=CSV" in capsys.readouterr().err
    assert call("--mode=evaluate", f"--workdir={classifier.workdir}", "--manifest=a.csv") == 1
    assert "a.csv: no such file (named by --manifest)" in capsys.readouterr().err
    both = ("--manifest=a.csv", "--scans=b.csv")
    assert call("--mode=evaluate", f"--workdir={classifier.workdir}", *both) == 2


def test_networks_decide_together_by_the_mean_of_their_logits():
    found = folds.mean_of_logits([np.array([0.9, 1.0]), np.array([0.1, 1.0])])
    np.testing.assert_allclose(found, [0.5, 1.0], atol=1e-9)
    alone = np.array([1e-20, 0.3])
    assert folds.mean_of_logits([alone]) is alone

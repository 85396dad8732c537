"""Both networks on one split: nobody judged was seen, and the figures are of all who were not."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort import splits
from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.errors import InputError, UsageError
from dtc_jax.evaluation.isolation import isolated
from dtc_jax.runs import evaluate, leakage, pipeline, train
from dtc_jax.runs.pipeline import composed
from dtc_jax.tasks import patch_data

pytestmark = pytest.mark.extras  # two trainings

PATIENTS, UNLABELLED = 14, 1
HEALTHY = ("h0", "h1", "h2", "h3", "h4")  # the last of another cohort


def _sides(run) -> pd.Series:
    return pd.read_csv(run / "split.csv").set_index("patient_id").split


def test_both_trainings_follow_one_split_and_nobody_judged_was_seen(run):
    shared = pd.read_csv(run / "split.csv")
    assert len(shared) == PATIENTS + UNLABELLED + 4
    assert (shared[shared.patient_id == "p16"].split == "train").all()  # it has no label
    judged = set(pd.read_csv(run / "regions.csv").patient_id)
    tested = set(shared.patient_id[shared.split == "test"])
    assert judged == tested - {*HEALTHY} | {"p14", "p15"}
    judged |= tested | {"h4"}
    sides = shared.set_index("patient_id").split
    for table in ("segmenter/cases.csv", "classifier/predictions.csv"):
        stored = pd.read_csv(run / table)
        assert not judged & set(stored.patient_id[stored.split != "test"])
        own = stored[stored.cohort == "primary"]
        assert (own.split == own.patient_id.map(sides)).all()


def test_the_figures_hold_the_fingerprints_of_the_splits(run):
    figures = json.loads((run / "pipeline.json").read_text())
    for name in ("segmenter", "classifier"):
        assert figures["split"][name] == json.loads((run / name / "data.json").read_text())["split"]
    shared = pd.read_csv(run / "split.csv")
    rows = shared.assign(lesion_id=shared.patient_id, fold=0)
    assert figures["split"]["patients"] == splits.fingerprint(rows)
    assert {*figures["cohorts"]} == {"primary", "external"}
    assert figures["cohorts"]["external"]["budget"]["regions"]["manual"]["lesions"] == 4


def test_manual_scores_are_those_of_the_classifiers_own_test(run):
    table = pd.read_csv(run / "regions.csv").set_index("lesion_id")
    own = pd.read_csv(run / "classifier/predictions.csv").set_index("lesion_id")
    own = own[own.split == "test"]
    assert set(own.index) == set(table.index)
    np.testing.assert_allclose(table.manual, own.score.reindex(table.index), atol=1e-5)
    np.testing.assert_allclose(table.threshold, own.threshold.reindex(table.index))


def test_a_patient_of_the_test_in_training_is_noticed(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    cases = pd.read_csv(tmp_path / "run/segmenter/cases.csv")
    sides = _sides(run)
    judged = {*sides.index[sides == "test"], "p14", "p15", "h4"}
    (healthy,) = judged & {"h0", "h1", "h2", "h3"}
    for patient in (min(judged - {*HEALTHY}), healthy, "h4"):
        cases.assign(split=cases.split.mask(cases.patient_id == patient, "train")).to_csv(
            tmp_path / "run/segmenter/cases.csv", index=False
        )
        with pytest.raises(InputError, match=f"segmenter: trained or chosen on 1 .* {patient}"):
            isolated(tmp_path / "run", judged)


def test_patients_without_a_lesion_train_the_segmenter_or_count_for_false_positives(run, cohort):
    sides = _sides(run).reindex(["h0", "h1", "h2", "h3"])
    assert sides.value_counts().to_dict() == {"train": 3, "test": 1}
    cases = pd.read_csv(run / "segmenter/cases.csv").set_index("patient_id")
    own = cases[cases.index.isin(list(HEALTHY))]
    assert (own.split == own.index.map({**sides, "h4": "test"})).all()
    assert set(own.index[own.split == "train"]) == set(sides.index[sides == "train"])
    assert (own.true_voxels == 0).all()
    assert not set(HEALTHY) & set(pd.read_csv(run / "classifier/predictions.csv").patient_id)
    found = json.loads((run / "pipeline.json").read_text())["cohorts"]
    table = read_manifest(cohort, healthy=True).drop_duplicates("image")
    tested = {"primary": _sides(run)[lambda x: x == "test"].index, "external": ["p14", "p15", "h4"]}
    candidates = pd.concat(map(pd.read_csv, run.glob("regions/*/candidates.csv")))
    false = candidates[candidates.is_false]
    threshold = pd.read_csv(run / "regions.csv").threshold[0]
    for name, empty in (("primary", 1), ("external", 2)):
        scans = table.patient_id.isin(tested[name]).sum()
        detection = found[name]["detection"]
        assert detection["empty_scans"] == empty
        assert detection["scans"] == scans
        assert detection["lesions"] == 2 * (scans - empty)
        own = false[false.patient_id.isin(tested[name])]
        assert set(own.patient_id) & {*HEALTHY}
        for of, count in (
            (detection["false_positives_per_scan"], len(own)),
            (found[name]["false_alarms_per_scan"], (own.probability >= threshold).sum()),
        ):
            assert of["n"] == scans
            assert of["value"] == pytest.approx(count / scans)


@pytest.mark.parametrize("change", [{"folds": 3}, {"unit": "lesion"}])
def test_a_split_that_does_not_keep_patients_apart_once_is_refused(change, config, tmp_path):
    other = config.copy_and_resolve_references()
    other.split.update(change)
    with pytest.raises(UsageError, match="unit must be 'patient'"):
        pipeline.run(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_configuration_of_one_network_is_refused(config, tmp_path):
    with pytest.raises(UsageError, match=r"configs/pipeline\.py"):
        pipeline.run(config.classifier, tmp_path / "run")


@pytest.mark.parametrize("mode", [train.run, leakage.run])
def test_other_modes_refuse_the_configuration_of_both(mode, config, tmp_path):
    with pytest.raises(UsageError, match=r"config\.task is 'pipeline'"):
        mode(config, tmp_path / "run")


def test_evaluate_refuses_the_folder_of_both(run):
    with pytest.raises(UsageError, match=r"config\.task is 'pipeline'"):
        evaluate.run(run)


def test_patients_without_a_lesion_are_stratified_as_those_with_least(config):
    table = patch_data.load(composed(config, "segmenter")).table
    strata = table.drop_duplicates("patient_id").set_index("patient_id").stratum
    assert set(strata.index) & set(HEALTHY)
    assert (strata[strata.index.isin(HEALTHY)] == 0).all()
    assert strata[~strata.index.isin(HEALTHY)].mean() == pytest.approx(0.5, abs=0.03)

import importlib.resources

import numpy as np
import pandas as pd
import pytest

from dtc_jax.report import checklist_answers
from dtc_jax.report.example import Example
from dtc_jax.report.report_run import Artefacts, OutputFolder, ReportRun


def items() -> pd.DataFrame:
    with (importlib.resources.files("dtc_jax.report") / "checklist.csv").open() as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_claim_has_its_44_items_tripod_its_27_and_strobe_its_22():
    table = items()
    claim = table[table.guideline == "CLAIM 2024"].item.tolist()
    tripod = table[table.guideline == "TRIPOD+AI"].item
    assert claim == [str(number) for number in range(1, 45)]
    assert {int(item.rstrip("abcdefg")) for item in tripod} == set(range(1, 28))
    strobe = table[table.guideline == "STROBE"].item
    assert {int(item.rstrip("abcde")) for item in strobe} == set(range(1, 23))
    assert not table.duplicated(["guideline", "item"]).any()


def test_every_keyword_has_an_answer_in_some_run(predictions, statistics, artefacts, tmp_path):
    rows = predictions.assign(kvp=120.0, label_reason="avid")
    rest = {"preprocess": {"mask": "none"}, "selection": {"per_patient": 5}, "model": {"width": 8}}
    rest |= {"data": {"source": "phantom"}, "loss": {"class_weight": "balanced"}}
    config = {**artefacts.config, **rest}
    cube = np.zeros((4, 4, 4))
    example = Example("a", "primary", 1, 0.9, 0.5, cube, cube > 0, cube, (-1000.0, 400.0))
    files = Artefacts(config=config, metrics=artefacts.metrics, examples=(example,))
    run = ReportRun("net", rows, statistics["runs"]["net"], files, OutputFolder(tmp_path))
    keywords = {key for keys in items().answers for key in keys.split()}
    assert keywords - {"details"} <= set(checklist_answers.answers(run))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"preprocess": {"mask": "none"}}, "only the CT around the lesion"),
        ({"preprocess": {"mask": "apply"}}, "only the CT around the lesion, within its mask"),
        (
            {"preprocess": {"mask": "channel"}, "model": {"measures": 16}},
            "only the CT around the lesion, its mask, measures of its size, margin and density",
        ),
    ],
)
def test_all_that_the_network_is_given_is_a_predictor(
    predictions, statistics, artefacts, tmp_path, fields, words
):
    files = Artefacts(config={**artefacts.config, **fields})
    run = ReportRun("net", predictions, statistics["runs"]["net"], files, OutputFolder(tmp_path))
    assert checklist_answers.answers(run)["predictors"] == words


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"width": 8}, "a 3-D residual network with squeeze-and-excitation blocks on chest CT"),
        ({"width": 8, "se": False}, "a 3-D residual network on chest CT"),
        (
            {"width": 8, "residual": False},
            "a 3-D convolutional network with squeeze-and-excitation blocks on chest CT",
        ),
        ({"se": False, "residual": False}, "a 3-D convolutional network on chest CT"),
    ],
)
def test_the_technology_has_the_parts_that_the_network_has(
    predictions, statistics, artefacts, tmp_path, model, words
):
    files = Artefacts(config={**artefacts.config, "model": model})
    run = ReportRun("net", predictions, statistics["runs"]["net"], files, OutputFolder(tmp_path))
    assert checklist_answers.answers(run)["technology"] == words


def test_boundaries_are_those_of_diameter_and_age(predictions, statistics, tmp_path):
    section = statistics["runs"]["net"]
    run = ReportRun("net", predictions, section, Artefacts(), OutputFolder(tmp_path))
    said = checklist_answers.answers(run)["boundaries"]
    assert "diameter (largest diameter, rounded to the nearest mm, halves up): " in said
    assert "≥ 10 mm" in said
    assert "< 55 years, ≥ 55 years" in said


@pytest.mark.parametrize(
    ("fields", "chosen", "ensembling"),
    [
        ({}, "best auc of the validation split", "one network per split"),
        (
            {"candidates": {"near": {}, "far": {}}},
            "best auc of the validation split, among the candidates far, near",
            "one network per split",
        ),
        (
            {"candidates": {"near": {}, "far": {}}, "combine": "mean"},
            "best auc of the validation split",
            "mean logit of 4 networks per split",
        ),
        (
            {"train": {"monitor": "auc", "keep": "last"}},
            "nothing: the last epoch was taken",
            "one network per split",
        ),
        (
            {"train": {"monitor": "auc", "keep": "last"}, "candidates": {"near": {}, "far": {}}},
            "the last epoch; among the candidates far, near the best auc of validation",
            "one network per split",
        ),
        (
            {"split": {"kind": "two_part"}},
            "nothing: there is no validation split, and the last epoch was taken",
            "one network per split",
        ),
    ],
)
def test_what_was_chosen_and_what_decides_together_is_said(
    predictions, statistics, tmp_path, fields, chosen, ensembling
):
    ensemble = 2 if "combine" in fields else 1
    config = {"train": {"monitor": "auc", "ensemble": ensemble}, **fields}
    files = Artefacts(config=config)
    run = ReportRun("net", predictions, statistics["runs"]["net"], files, OutputFolder(tmp_path))
    answers = checklist_answers.answers(run)
    assert (answers["chosen"], answers["ensembling"]) == (chosen, ensembling)


def _answers(predictions, statistics, tmp_path, config):
    section = statistics["runs"]["net"]
    files = Artefacts(config=config)
    run = ReportRun("net", predictions, section, files, OutputFolder(tmp_path))
    return checklist_answers.answers(run)


@pytest.mark.parametrize(
    ("combine", "words"),
    [
        ("mean", "mean logit of 5 networks per split"),
        ("best", "mean logit of 1 or 3 networks per split, by the candidate"),
    ],
)
@pytest.mark.parametrize(
    "three", [{"train": {"ensemble": 3}}, {"train.ensemble": 3}, {"train.snapshots": 3}]
)
def test_candidates_may_have_ensembles_of_their_own(
    predictions, statistics, tmp_path, combine, words, three
):
    candidates = {"near": three, "far": {}, "wide": {"model": {"width": 8}}}
    config = {"train": {"monitor": "auc", "ensemble": 1}, "candidates": candidates}
    config["combine"] = combine
    assert _answers(predictions, statistics, tmp_path, config)["ensembling"] == words


def test_fields_of_the_candidates_are_named_beside_those_of_all(predictions, statistics, tmp_path):
    config = {
        "preprocess": {"crop_mm": [32, 48, 48], "mask": "channel"},
        "model": {"width": 64, "dropout": 0.1},
        "candidates": {
            "near": {"preprocess": {"crop_mm": [12, 12, 12]}, "model.width": 16},
            "far": {"preprocess.spacing_mm": 2.0},
        },
    }
    answers = _answers(predictions, statistics, tmp_path, config)
    assert answers["model"] == "width 64, dropout 0.1; of candidate near: width 16"
    assert answers["preprocessing"].startswith(
        "crop_mm (32, 48, 48), mask channel; of candidate far: spacing_mm 2.0; "
        "of candidate near: crop_mm (12, 12, 12) ("
    )


@pytest.mark.extras
def test_the_runs_files_fill_items_and_the_rest_is_listed_as_open(report):
    claim = pd.read_csv(report / "tables/checklist-claim-2024.csv", keep_default_na=False)
    answers = claim.set_index("item")["from this run"]
    assert "holdout by patient" in answers[19]
    assert answers[20] == "patient: 0 test patients are also in training"
    assert "another cancer" in answers[8]
    assert answers[44] == ""
    strobe = pd.read_csv(report / "tables/checklist-strobe.csv", keep_default_na=False)
    assert "Flowchart" in strobe.set_index("item")["from this run"]["13c"]
    html = (report / "report.html").read_text()
    assert "44 Sources and role of funding" in html
    filled = int((answers != "").sum())
    assert f"CLAIM 2024: {filled} of 44 items filled" in html


def test_a_table_alone_fills_only_what_it_contains(predictions, statistics, tmp_path):
    run = ReportRun(
        "net", predictions, statistics["runs"]["net"], Artefacts(), OutputFolder(tmp_path)
    )
    answers = checklist_answers.answers(run)
    assert not {"model", "training", "partition", "flow", "eligibility", "reference"} & set(answers)
    assert {"counts", "threshold", "missing"} <= set(answers)

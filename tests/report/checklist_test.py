import importlib.resources

import pandas as pd
import pytest

from dtc_jax.report import checklist_answers
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
    files = Artefacts(config=config, metrics=artefacts.metrics)
    run = ReportRun("net", rows, statistics["runs"]["net"], files, OutputFolder(tmp_path))
    keywords = {key for keys in items().answers for key in keys.split()}
    assert keywords - {"details"} <= set(checklist_answers.answers(run))


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

import importlib.resources

import pandas as pd

from dtc_jax.report import facts
from dtc_jax.report.subject import Artefacts, Place, Subject


def items() -> pd.DataFrame:
    with (importlib.resources.files("dtc_jax.report") / "checklist.csv").open() as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_claim_has_its_44_items_and_tripod_its_27():
    table = items()
    claim = table[table.guideline == "CLAIM 2024"].item.tolist()
    tripod = table[table.guideline == "TRIPOD+AI"].item
    assert claim == [str(number) for number in range(1, 45)]
    assert {int(item.rstrip("abcdefg")) for item in tripod} == set(range(1, 28))
    assert not table.duplicated(["guideline", "item"]).any()


def test_every_keyword_is_a_fact_that_some_run_has(predictions, statistics, artefacts, tmp_path):
    rows = predictions.assign(kvp=120.0, label_reason="avid")
    rest = {"preprocess": {"mask": "none"}, "selection": {"per_patient": 5}, "model": {"width": 8}}
    config = {**artefacts.config, **rest, "data": {"source": "phantom"}}
    known = Artefacts(config=config, metrics=artefacts.metrics)
    subject = Subject("net", rows, statistics["runs"]["net"], known, Place(tmp_path))
    keywords = {key for keys in items().facts for key in keys.split()}
    assert keywords - {"details"} <= set(facts.facts(subject))


def test_what_the_run_says_fills_items_and_the_rest_is_listed_as_open(report):
    claim = pd.read_csv(report / "tables/checklist-claim-2024.csv", keep_default_na=False)
    here = claim.set_index("item")["from this run"]
    assert "holdout by patient" in here[19]
    assert here[20] == "patient: 0 test patients are in training"
    assert "another cancer" in here[8]
    assert here[44] == ""
    html = (report / "report.html").read_text()
    assert "44 Funding and its role" in html
    filled = int((here != "").sum())
    assert f"CLAIM 2024: {filled} of 44 items filled" in html


def test_a_table_alone_fills_nothing_that_it_does_not_hold(predictions, statistics, tmp_path):
    subject = Subject("net", predictions, statistics["runs"]["net"], Artefacts(), Place(tmp_path))
    found = facts.facts(subject)
    assert not {"model", "training", "partition", "flow", "eligibility", "reference"} & set(found)
    assert {"counts", "threshold", "missing"} <= set(found)

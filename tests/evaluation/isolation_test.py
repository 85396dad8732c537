"""Who takes no part in the classifier trains no network on what the split keeps for the test."""

import pandas as pd
import pytest

from configs import pipeline
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError
from dtc_jax.evaluation import isolation

TESTED = ("p5", "p6", "p7")


@pytest.fixture
def people() -> pd.DataFrame:
    """Eight labelled patients; of each further kind one who is as the training, one as the test."""
    rows = [(f"p{i}", f"p{i}-1", float(i % 2), float(i), f"p{i}" in TESTED) for i in range(8)]
    rows += [("idle-a", "ia-1", None, 1.0, False), ("idle-b", "ib-1", None, 9.0, True)]
    rows += [("healthy-a", None, None, 1.0, False), ("healthy-b", None, None, 9.0, True)]
    table = pd.DataFrame(rows, columns=["patient_id", "lesion_id", "label", "scan_order", "late"])
    return table.assign(
        cohort="primary",
        split=table.late.map({True: "test", False: "train"}),
        center=table.late.map({True: "Rome", False: "Lyon"}),
    )


def _split(people, path, kind):
    config = pipeline.get_config("demo")
    config.split.update(kind=kind, center="Rome", test_fraction=3 / 8, file=str(path))
    config.split.validation_fraction = 0.25
    sides = people.drop_duplicates("patient_id")[["patient_id", "split"]]
    sides.loc[sides.patient_id.isin(["p3", "p4"]), "split"] = "validation"
    sides.to_csv(path, index=False)
    labelled = people[people.label.notna()]
    rule = make_rule(config.split)
    shared, tested = isolation.share_split(rule, rule.assign(labelled), people)
    return shared.set_index("patient_id").split, tested


@pytest.mark.parametrize("kind", ["column", "file", "center", "temporal"])
def test_a_tested_patient_without_a_label_trains_nothing(people, tmp_path, kind):
    shared, tested = _split(people, tmp_path / "split.csv", kind)
    assert shared["idle-b"] == shared["healthy-b"] == "test"
    assert shared["idle-a"] != "test"
    assert tested == {*TESTED, "healthy-b"}


def test_where_the_split_is_drawn_they_help_to_train(people, tmp_path):
    shared, tested = _split(people, tmp_path / "split.csv", "holdout")
    assert shared["idle-a"] == shared["idle-b"] == "train"
    assert not tested & {"idle-a", "idle-b"}


def test_a_file_without_them_is_refused(people, tmp_path):
    path = tmp_path / "split.csv"
    _split(people, path, "file")
    path.write_text(path.read_text().replace("idle-b,test\n", ""))
    config = pipeline.get_config("demo")
    config.split.update(kind="file", file=str(path))
    rule = make_rule(config.split)
    rows = rule.assign(people[people.label.notna()])
    with pytest.raises(InputError, match=r"no row for 1 patients .* idle-b"):
        isolation.share_split(rule, rows, people)


@pytest.mark.parametrize("kind", ["column", "center"])
@pytest.mark.parametrize("lesion_id", ["p0-2", None])
def test_a_training_patient_with_another_scan_in_the_test_is_refused(
    people, tmp_path, kind, lesion_id
):
    further = people[people.patient_id == "p5"].assign(
        patient_id="p0", lesion_id=lesion_id, label=None
    )
    both = pd.concat([people, further], ignore_index=True)
    with pytest.raises(InputError, match="1 patients have scans on more than one side, such as p0"):
        _split(both, tmp_path / "split.csv", kind)

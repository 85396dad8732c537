"""A split that several runs share: a file that says on which side a patient is."""

import ml_collections
import pandas as pd
import pytest

from configs import senet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.runs import data


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [(f"p{i}", f"p{i}-{j}", i % 2, "primary") for i in range(8) for j in range(2)]
    rows.append(("other", "other-1", 1, "external"))
    columns = ["patient_id", "lesion_id", "label", "cohort"]
    return pd.DataFrame(rows, columns=columns).assign(split=None)


def config(path, text: str) -> ml_collections.ConfigDict:
    path.write_text(text)
    found = senet.get_config("demo")
    found.split.update(kind="file", file=str(path))
    return found


SIDES = "patient_id,split\n" + "".join(
    f"p{i},{'train' if i < 4 else 'validation' if i < 6 else 'test'}\n" for i in range(8)
)


def test_patients_are_on_the_side_that_the_file_gives_and_other_cohorts_are_tested(table, tmp_path):
    rows = data.assign(config(tmp_path / "split.csv", SIDES), table)
    sides = rows.drop_duplicates("patient_id").set_index("patient_id").split
    assert sides[[f"p{i}" for i in range(8)]].tolist() == (
        ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    )
    assert sides["other"] == "test"
    assert len(rows) == len(table)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,split\np0,train\n", "needs the columns patient_id and split"),
        (SIDES + "p0,test\n", "a patient has several rows"),
        (SIDES.replace("p3,train\n", ""), "no row for 1 patients of the cohort 'primary'.*p3"),
        (SIDES.replace("p3,train", "p3,training"), "training"),
        (SIDES.replace("p3,train", "p3,"), "training|split"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text, words, table, tmp_path):
    with pytest.raises((InputError, UsageError), match=words):
        data.assign(config(tmp_path / "split.csv", text), table)


def test_the_file_must_be_there(table):
    found = senet.get_config("demo")
    found.split.kind = "file"
    with pytest.raises(UsageError, match="file is empty"):
        data.assign(found, table)

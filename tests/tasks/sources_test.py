"""What a run works on: the cohort as the manifest has it, and a split that several runs share."""

import ml_collections
import numpy as np
import pandas as pd
import pytest

from configs import senet, vnet
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import volume
from dtc_jax.tasks import classification, patch_data


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
    rows = make_rule(config(tmp_path / "split.csv", SIDES).split).assign(table)
    sides = rows.drop_duplicates("patient_id").set_index("patient_id").split
    assert sides[[f"p{i}" for i in range(8)]].tolist() == (
        ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    )
    assert sides["other"] == "test"
    assert len(rows) == len(table)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ('patient_id,split\n"p0,train\n', "is not valid CSV"),
        ("patient_id,split\np0,train,\0\n", "is not UTF-8 text"),
        ("patient,split\np0,train\n", "needs the columns patient_id and split"),
        (SIDES + "p0,test\n", "a patient has several rows"),
        (SIDES.replace("p3,train\n", ""), "no row for 1 patients of the cohort 'primary'.*p3"),
        (SIDES.replace("p3,train", "p3,training"), "training"),
        (SIDES.replace("p3,train", "p3,"), "training|split"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text, words, table, tmp_path):
    with pytest.raises((InputError, UsageError), match=words):
        make_rule(config(tmp_path / "split.csv", text).split).assign(table)


def test_the_file_must_be_there(table):
    found = senet.get_config("demo")
    found.split.kind = "file"
    with pytest.raises(UsageError, match="file is empty"):
        make_rule(found.split).assign(table)


def test_scans_without_a_lesion_are_counted_and_no_part_of_a_classifiers_data(study, tmp_path):
    whole = pd.read_csv(study, dtype=str)
    path = study.parent / f"{tmp_path.name}.csv"
    healthy = {"patient_id": "h", "image": "h.nii.gz", "lungs": "h-lungs.nii.gz"}
    hu = np.full((16, 20, 32), -850, np.int16)
    volume.write(study.parent / "h.nii.gz", volume.Volume(hu, np.eye(4)))
    volume.write(study.parent / "h-lungs.nii.gz", volume.Volume(hu < 0, np.eye(4)))
    pd.concat([whole, pd.DataFrame([healthy])]).to_csv(path, index=False)
    found = senet.get_config("demo")
    found.data.update(source="manifest", manifest=str(path), folder=str(tmp_path))
    found.data.about = "Not what the study is about."
    loaded = classification.load(found)
    assert loaded.notes[0] == "Not what the study is about."  # before all else, also on the page
    assert len(loaded.table) == len(whole) - 1  # one has no label
    assert "h" not in set(loaded.table.patient_id)
    assert "scans without a lesion, not used by the classifier: 1" in loaded.notes
    path.write_text("patient_id,lesion_id,image,mask,lungs\nh,,h.nii.gz,,h-lungs.nii.gz\n")
    with pytest.raises(InputError, match="has only scans without a lesion; add rows of lesions"):
        classification.load(found)
    segmenter = vnet.get_config("demo")
    segmenter.data.update(source="manifest", manifest=str(path), folder=str(tmp_path))
    with pytest.raises(InputError, match="no patch shows a lesion; add scans with lesions"):
        patch_data.load(segmenter)

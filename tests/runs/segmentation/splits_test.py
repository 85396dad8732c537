"""Who trains and who is tested in a segmentation run, and which epoch is its result."""

import json

import numpy as np
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import checks
from dtc_jax.runs import evaluate, leakage, train
from dtc_jax.tasks import patch_data
from dtc_jax.training import result
from tests.cubes import PATIENTS

pytestmark = pytest.mark.extras  # several trainings


@pytest.mark.parametrize(
    ("kind", "one", "other"), [("column", "train", "test"), ("center", "A", "B")]
)
def test_a_patient_on_two_sides_is_refused_and_a_blank_is_none(config, cubes, kind, one, other):
    column = {"column": "split"}.get(kind, kind)
    table = pd.read_csv(cubes).assign(**{column: one})
    table.loc[table.patient_id.isin(["p05", "p06", "p07", "p08", "p09"]), column] = other
    config.data.manifest = str(cubes.parent / "given.csv")
    config.split.update(kind=kind, center="B")
    first = table.index[table.patient_id == "p00"][0]

    def sides() -> dict[str, set[str]]:
        table.to_csv(config.data.manifest, index=False)
        assigned = patch_data.split(config, patch_data.load(config).table)
        return assigned.groupby("patient_id").split.agg(set).to_dict()

    table.loc[first, column] = None
    assert sides()["p05"] == {"test"}
    assert "test" not in sides()["p00"]
    table.loc[first, column] = other
    with pytest.raises(
        InputError, match="1 patients have scans on more than one side, such as p00"
    ):
        sides()


def test_patients_left_out_are_nowhere(config):
    whole = patch_data.load(config)
    config.data.exclude_patients = ("p03", "p11")
    config.data.about = "Not what the study is about."
    data = patch_data.load(config)
    assert data.fingerprint == whole.fingerprint
    assert set(whole.table.patient_id) - set(data.table.patient_id) == {"p03", "p11"}
    assert data.notes[0] == config.data.about
    assert "2" in data.notes[1]
    assert data.table.lesion_id.tolist() == data.records.lesion_ids[data.table.position].tolist()
    config.data.exclude_patients = ("p99",)
    with pytest.raises(UsageError, match="1 patients who are not in the data"):
        patch_data.load(config)


def test_folds_test_each_patient_once_and_keep_sizes_mixed(config):
    config.split.folds = 3
    rows = patch_data.split(config, patch_data.load(config).table)
    tested = rows[rows.split == "test"]
    assert sorted(tested.lesion_id) == sorted(rows.lesion_id.unique())
    assert rows.groupby(["fold", "patient_id"]).split.nunique().max() == 1
    for _, test in tested.groupby("fold"):
        assert test.stratum.nunique() == 2


def test_a_split_by_lesion_leaks_and_says_how_many(config):
    table = patch_data.load(config).table
    config.split.unit = "lesion"
    rows = patch_data.split(config, table)
    assert sorted(rows.lesion_id) == sorted(table.lesion_id)
    leaked = sum({"train", "test"} <= s for s in rows.groupby("patient_id").split.agg(set))
    tested = rows.patient_id[rows.split == "test"].nunique()
    note = make_rule(config.split).notes(rows)[0]
    assert f"split by LESION: {leaked} of the {tested} tested patients" in note


@pytest.mark.extras
def test_what_a_split_by_lesion_gains_in_dice_is_measured(config, tmp_path, capsys):
    config.split.update(folds=4, validation_fraction=0.1)
    config.train.epochs = 1
    figures = leakage.run(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "leakage.json").read_text()) == figures
    cases = {
        unit: pd.read_csv(tmp_path / "run" / unit / "cases.csv") for unit in ("lesion", "patient")
    }
    dice = {unit: rows[rows.split == "test"].dice.mean() for unit, rows in cases.items()}
    found = figures["gap"]["dice_gap"]
    assert found["value"] == pytest.approx(dice["lesion"] - dice["patient"], abs=1e-6)
    assert (found["n"], found["patients"]) == (PATIENTS + 3, PATIENTS)
    assert 0 <= figures["gap"]["siblings"] <= 0.4  # three patients have two patches
    assert "Dice gained by it" in capsys.readouterr().out


def test_the_first_patients_in_time_order_alone_take_part(config):
    table = patch_data.load(config).table
    table["scan_order"] = -table.patient_id.str[1:].astype(float)  # the last one came first
    config.split.first_patients = 9
    rows = patch_data.split(config, table)
    assert set(rows.patient_id) == {f"p{i:02d}" for i in range(PATIENTS - 9, PATIENTS)}


def test_the_studys_lesions_are_about_932_and_343_of_its_first_187_patients():
    rng = np.random.default_rng(0)
    lesions = rng.integers(1, 13, 200)
    rest = np.linspace(0, 1275 - lesions[:187].sum(), 188).round().astype(int)
    lesions[:187] += np.diff(rest)
    owner = np.repeat(np.arange(200), lesions)
    assert (owner < 187).sum() == 1275
    table = pd.DataFrame({"patient_id": [f"P{i:03d}" for i in np.repeat(owner, 2)]})
    table["lesion_id"] = [f"{'L' if i % 2 else 'lung'}{i // 2}" for i in range(len(table))]
    table["label"] = table.lesion_id.str.startswith("L").astype(int)
    table["stratum"] = (np.repeat(owner, 2) % 2).astype(int)
    table["scan_order"] = np.repeat(owner, 2) + 1.0
    table = table.assign(cohort="primary", split=None, position=range(len(table)))
    rows = patch_data.split(vnet.get_config("study"), table)
    assert set(rows.patient_id) == {f"P{i:03d}" for i in range(187)}
    of_lesions = rows[rows.label == 1].split.value_counts()
    assert of_lesions.sum() == 1275
    assert of_lesions["test"] == pytest.approx(343, abs=25)
    said = make_rule(vnet.get_config("study").split).describe(rows)
    both = set(rows.patient_id[rows.split == "train"]) & set(rows.patient_id[rows.split == "test"])
    assert said["leaked_patients"] == len(both) > 100


def test_two_parts_give_the_network_of_the_last_epoch(config, tmp_path, capsys):
    config.split.kind = "two_part"
    config.train.update(patience=2)
    with pytest.raises(UsageError, match=r"config\.train\.patience needs a validation split"):
        checks.check(config)
    config.train.update(patience=0, epochs=2)
    folder = tmp_path / "run"
    evaluation = train.run(config, folder)
    cases = pd.read_csv(folder / "cases.csv")
    assert set(cases.split) == {"train", "test"}
    assert result.read_best(folder).best_step == len(cases[cases.split == "train"]) // 8 * 2
    assert not evaluation.metrics["epochs"]
    assert any("no validation: the network is" in note for note in evaluation.metrics["notes"])
    again = evaluate.run(folder)
    assert again["network"] == evaluation.metrics["network"]


def test_the_last_epoch_can_be_kept_although_there_is_validation(config, tmp_path, capsys):
    config.train.update(keep="last", epochs=3, evaluate_every_epochs=1)
    config.optimizer.learning_rate = 30.0  # so that the later epochs are worse
    folder = tmp_path / "run"
    evaluation = train.run(config, folder)
    rows = pd.read_csv(folder / "cases.csv")
    assert result.read_best(folder).best_step == (rows.split == "train").sum() // 8 * 3
    (of_training,) = evaluation.metrics["epochs"].values()
    assert of_training["best"]["epoch"] < of_training["last"]["epoch"] == 3
    assert "in the last, 3, which was kept" in capsys.readouterr().out


def test_too_few_patients_are_said_in_terms_of_size(config):
    config.data.exclude_patients = tuple(f"p{i:02d}" for i in range(1, PATIENTS))
    table = patch_data.load(config).table
    with pytest.raises(InputError, match=r"small|large"):
        patch_data.split(config, table)

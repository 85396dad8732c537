"""A segmentation run from cubes to metrics.json: splits, baselines, figures, evaluated again."""

import json

import numpy as np
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import checks
from dtc_jax.imaging import volume
from dtc_jax.runs import evaluate, leakage, train
from dtc_jax.tasks import dice_baselines, patch_data
from dtc_jax.training import result

SIDE = 16
PATIENTS = 12
AFFINE = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # (z, y, x) to RAS


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """A CSV of cubes, one or two a patient, each with a bright ball near its middle."""
    folder = tmp_path_factory.mktemp("cubes")
    rng = np.random.default_rng(0)
    grid = np.indices((SIDE,) * 3)
    rows = []
    for i in range(PATIENTS + 3):
        center = (SIDE - 1) / 2 + rng.integers(-1, 2, 3)
        apart = np.sqrt(((grid - center.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        mask = apart <= 2 + 3 * i / PATIENTS
        hu = np.where(mask, 0, -850) + rng.normal(0, 30, mask.shape)
        rows.append((f"p{i % PATIENTS:02d}", f"c{i:02d}", f"{i}.nii", f"{i}-mask.nii"))
        volume.write(folder / rows[-1][2], volume.Volume(np.rint(hu).astype(np.int16), AFFINE))
        volume.write(folder / rows[-1][3], volume.Volume(mask, AFFINE))
    table = pd.DataFrame(rows, columns=["patient_id", "patch_id", "image", "mask"])
    table.to_csv(folder / "cubes.csv", index=False)
    return folder / "cubes.csv"


@pytest.fixture
def config(cubes):
    config = vnet.get_config("lidc")
    config.data.update(manifest=str(cubes), folder=str(cubes.parent / "data"))
    config.data.exclude_patients = ()
    config.data.size_mm = (SIDE,) * 3
    config.preprocess.crop_mm = (12, 12, 12)
    config.predict.update(crop_mm=(SIDE,) * 3, batch_size=8)
    config.augment.shift_mm = 2.0
    with config.unlocked():
        config.model.update(widths=(4, 8), convolutions=(1, 1))
    config.train.update(epochs=4, batch_size=8, evaluate_every_epochs=2)
    return config


def test_a_run_reports_held_out_dice_beside_baselines_and_says_it_again(
    config, cubes, tmp_path, capsys
):
    folder = tmp_path / "run"
    train.run(config, folder)
    printed = capsys.readouterr().out
    figures = json.loads((folder / "metrics.json").read_text())
    cases = pd.read_csv(folder / "cases.csv")
    test = cases[cases.split == "test"]
    told = figures["network"]["primary"]["test"]
    assert told["cases"] == told["dice"]["n"] == len(test)
    assert told["dice"]["value"] == pytest.approx(test.dice.mean())
    expected = 2 * test.overlap_voxels / (test.found_voxels + test.true_voxels)
    np.testing.assert_allclose(test.dice, expected)
    for name in ("dice_ball", "dice_bright"):
        baseline = figures["baselines"][name]["primary"]["test"]["dice"]["value"]
        assert baseline == pytest.approx(test[name].mean())
    assert test.dice_bright.mean() > 0.95  # these balls are what it looks for
    best, last = figures["epochs"]["."]["best"], figures["epochs"]["."]["last"]
    assert last["epoch"] == 4
    assert best["dice"] >= last["dice"] > 0
    assert f"validation Dice: {best['dice']:.3f} in the best epoch, {best['epoch']:g}" in printed
    for words in ("SE V-Net", "dice_ball", f"{len(test)} patches with lesion"):
        assert words in printed
    assert cases.groupby("patient_id").split.nunique().max() == 1
    for name in ("curve_dice", "curve_loss", "slices"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5000
    assert (folder / "figures" / "slices.svg").read_text().count(">Dice ") == min(6, len(test))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for split in ("train", "validation"):
        for name in ("dice", "loss"):
            told = [row[f"{split}/{name}"] for row in rows if f"{split}/{name}" in row]
            assert len(told) == (4 if split == "train" else 2)  # once an epoch, every second one
    evaluate.run(folder)
    assert json.loads((folder / "metrics.json").read_text()) == figures
    scans = cubes.parent / "scans.csv"
    text = "patient_id,lesion_id,image,mask\n{0},{0}-1,0.nii,0-mask.nii\n"
    hidden = cubes.rename(cubes.parent / "hidden.csv")  # whole scans need no data of the training
    scans.write_text(text.format("q"))
    with pytest.raises(InputError, match=r"0\.nii: no lungs found"):  # a cube is no chest
        evaluate.run(folder, scans)
    scans.write_text(text.format(cases.patient_id[cases.split == "validation"].iloc[0]))
    with pytest.raises(InputError, match="has seen all of its 1 patients"):
        evaluate.run(folder, scans)
    (folder / "cases.csv").unlink()
    with pytest.raises(InputError, match="nothing else records which patients"):
        evaluate.run(folder, scans)
    hidden.rename(cubes)


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
    data = patch_data.load(config)
    assert data.fingerprint == whole.fingerprint
    assert set(whole.table.patient_id) - set(data.table.patient_id) == {"p03", "p11"}
    assert "2" in data.notes[0]
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
    with pytest.raises(UsageError, match=r"config\.train\.patience chooses on validation"):
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


def test_an_unknown_source_and_a_wrong_field_are_said(config):
    config.data.source = "cube"
    with pytest.raises(UsageError, match="Did you mean 'cubes'"):
        patch_data.load(config)
    for field, value, message in [
        ("model.norm", "bach", "Did you mean 'batch'"),
        ("model.widths", (0, 8), "model.widths"),
        ("predict.overlap", 1.0, r"config\.predict: .*overlap must be in"),
        ("predict.connectivity", 8, r"config\.predict: connectivity is 8"),
        ("model.convolutions", (1,), "one number for each level"),
        ("loss.name", "dise", "Did you mean 'dice'"),
        ("train.monitor", "auc", "'dice'|dice"),
        ("task", "segment", "Did you mean 'segmentation'"),
        ("augment.interpolation", "sharpe", "Did you mean 'sharp'"),
        ("train.keep", "lst", "Did you mean 'last'"),
        ("preprocess.antialias", "gauss", "use gaussian or none"),
    ]:
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({field: value})
        with pytest.raises(UsageError, match=message):
            checks.check(changed)


@pytest.mark.parametrize("spacing_mm", [1.0, 0.8])
def test_baselines_are_fitted_on_the_training_patches_of_their_fold(spacing_mm):
    axes = (np.arange(SIDE) - (SIDE - 1) // 2) * spacing_mm
    apart = np.sqrt(sum(np.meshgrid(axes**2, axes**2, axes**2, indexing="ij")))
    masks = [apart <= radius for radius in (4.0, 4.0, 6.0, 6.0)]
    records = [
        {"mask": mask.astype(np.uint8), "image": np.where(mask, -350, -850)} for mask in masks
    ]
    rows = pd.DataFrame(
        {
            "position": [0, 1, 2, 3] * 2,
            "fold": [0] * 4 + [1] * 4,
            "split": ["train", "train", "test", "test", "test", "test", "train", "train"],
            "diameter_mm": [8.0, 8.0, 12.0, np.nan] * 2,
        }
    )
    found = dice_baselines.predict(records, rows, spacing_mm)
    smaller = 2 * masks[0].sum() / (masks[0].sum() + masks[2].sum())
    np.testing.assert_allclose(
        found.dice_ball, [1, 1, smaller, np.nan, smaller, smaller, 1, np.nan]
    )
    np.testing.assert_allclose(found.dice_bright[[0, 1, 4, 5, 6]], 1.0)
    assert found.dice_bright[[3, 7]].isna().all()


def test_patches_are_stored_on_the_grid_of_the_network(config):
    folders, shapes = set(), []
    for spacing_mm, antialias in ((1.0, "gaussian"), (2.0, "gaussian"), (2.0, "none")):
        config.preprocess.update(spacing_mm=spacing_mm, antialias=antialias)
        data = patch_data.load(config)
        folders.add(data.fingerprint)
        shapes.append(data.records[0]["image"].shape)
        row = data.table.iloc[0]
        assert row.volume_mm3 == data.records[row.position]["mask"].sum() * spacing_mm**3
    assert shapes == [(SIDE,) * 3, (SIDE // 2,) * 3, (SIDE // 2,) * 3]
    assert len(folders) == 3


def test_candidates_on_another_grid_are_refused(config):
    with config.unlocked():
        config.candidates = {"coarse": {"preprocess": {"spacing_mm": 2.0}}}
    with pytest.raises(UsageError, match=r"config\.candidates\.coarse: patches are stored on one"):
        patch_data.load(config)


def test_a_run_trained_on_patches_of_before_is_refused(config):
    with config.unlocked():
        del config.preprocess.antialias
    with pytest.raises(InputError, match=r"trained by an earlier version.*train it again"):
        patch_data.load(config)


def test_patches_of_scans_follow_their_patient_and_other_cohorts_are_test_only(tmp_path):
    config = vnet.get_config("demo")
    config.data.folder = str(tmp_path)
    with config.unlocked():
        config.data.phantom.update(
            patients=6, external_patients=1, matrix=(64, 92, 108), spacing_mm=(2.0, 1.5, 1.5)
        )
    data = patch_data.load(config)
    rows = patch_data.split(config, data.table)
    in_middle = rows.diameter_mm.notna()
    assert (rows.label[in_middle] == 1).all()
    assert 0.3 < in_middle.mean() < 0.7  # half of many
    assert rows.groupby("patient_id").split.nunique().max() == 1
    assert set(rows.split[rows.cohort == "external"]) == {"test"}
    assert set(rows.split[rows.cohort == "primary"]) == {"train", "validation", "test"}
    for row in rows.itertuples():
        assert data.records[row.position]["mask"].any() == row.label
        assert data.records.lesion_ids[row.position] == row.lesion_id

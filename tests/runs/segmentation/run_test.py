"""A segmentation run from cubes to metrics.json: baselines, figures, evaluated again."""

import json

import numpy as np
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import checks
from dtc_jax.imaging.preprocess import IGNORED, Preprocess
from dtc_jax.runs import evaluate, train
from dtc_jax.tasks import dice_baselines, patch_data
from tests.cubes import SIDE


@pytest.mark.extras
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
        assert (folder / "figures" / f"{name}.png").stat().st_size > 2000
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
    spec = Preprocess((SIDE * spacing_mm,) * 3, spacing_mm, grid="scan")
    found = dice_baselines.predict(records, rows, spec)
    smaller = 2 * masks[0].sum() / (masks[0].sum() + masks[2].sum())
    np.testing.assert_allclose(
        found.dice_ball, [1, 1, smaller, np.nan, smaller, smaller, 1, np.nan]
    )
    np.testing.assert_allclose(found.dice_bright[[0, 1, 4, 5, 6]], 1.0)
    assert found.dice_bright[[3, 7]].isna().all()


def test_baselines_are_compared_where_the_network_is():
    axes = np.arange(SIDE) - (SIDE - 1) // 2
    apart = np.sqrt(sum(np.meshgrid(axes**2, axes**2, axes**2, indexing="ij")))
    mask = (apart <= 4).astype(np.uint8)
    mask[0], mask[:, :, 20:22] = 1, IGNORED  # a lesion that the network does not see
    image = np.where((mask > 0) & (apart < 12), -350, -850)
    rows = pd.DataFrame({"position": [0], "fold": 0, "split": "train", "diameter_mm": 8.0})
    spec = Preprocess((SIDE - 6.0,) * 3, grid="scan")
    found = dice_baselines.predict([{"mask": mask, "image": image}], rows, spec)
    np.testing.assert_allclose(found.to_numpy(), 1.0)


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


@pytest.mark.extras
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

"""A segmenter judged on whole scans: the tables, the figures, and whose scans are left out."""

import dataclasses
import json

import jax
import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError, UsageError
from dtc_jax.evaluation import reference_scan, whole_scans
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.runs import evaluate
from dtc_jax.tasks.trained import TrainedNetwork
from tests.chests import AFFINE, SHAPE

pytestmark = pytest.mark.extras  # evaluates whole chests


def _biased(network, bias) -> TrainedNetwork:
    """The network with `bias` added to its logits."""
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + bias if leaf.shape == (1,) else leaf, network.members[0].params
    )
    return _changed(network, params=params)


def _changed(network, **fields) -> TrainedNetwork:
    member = dataclasses.replace(network.members[0], **fields)
    return dataclasses.replace(network, members=(member,))


def _split(**patients) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": list(patients), "split": list(patients.values())})


def test_scans_of_patients_that_were_seen_are_left_out(network, manifest, tmp_path):
    split = _split(p0="train", p1="validation", p2="test")
    whole_scans.evaluate(network, [split], manifest, tmp_path)
    scans = pd.read_csv(tmp_path / "scans" / "scans.csv", keep_default_na=False)
    assert set(scans.series) == {""}  # none of them is DICOM
    assert scans.patient_id.tolist() == ["p2"]
    assert json.loads((tmp_path / "scans" / "metrics.json").read_text())["patients_left_out"] == 2
    with pytest.raises(InputError, match="has seen all of its 3 patients"):
        whole_scans.evaluate(
            network, [_split(p0="train", p1="train", p2="train")], manifest, tmp_path
        )


def test_figures_are_those_of_the_tables_and_of_the_masks(network, manifest, tmp_path, capsys):
    whole_scans.evaluate(network, [_split(x="train")], manifest, tmp_path)
    scans, lesions, candidates = (
        pd.read_csv(tmp_path / "scans" / f"{name}.csv")
        for name in ("scans", "lesions", "candidates")
    )
    figures = json.loads((tmp_path / "scans" / "metrics.json").read_text())
    assert figures["scans"] == figures["patients"] == len(scans) == 3
    assert lesions.lesion_id.tolist() == [f"p{i}-{n}" for i in range(3) for n in (1, 2)]
    assert figures["sensitivity"]["value"] == pytest.approx(lesions.is_found.mean())
    per_scan = candidates.is_false.sum() / 3
    assert figures["false_positives_per_scan"]["value"] == pytest.approx(per_scan)
    table = pd.read_csv(manifest)
    for i, row in enumerate(scans.itertuples()):
        image = volume.read_image(manifest.parent / f"{i}.nii")
        truth = volume.read_mask(manifest.parent / table["mask"][2 * i], image).array
        mine = candidates[candidates.scan_id == row.scan_id]
        found = volume.read_image(tmp_path / "scans" / "masks" / f"{row.scan_id}.nii.gz")
        np.testing.assert_allclose(found.affine, image.affine)
        assert set(np.unique(found.array)) == {0, *mine.lesion_id}
        dice = 2 * (truth & (found.array > 0)).sum() / (truth.sum() + (found.array > 0).sum())
        assert row.dice == pytest.approx(dice)
        assert mine.volume_mm3.sum() == pytest.approx(row.found_mm3)
    printed = capsys.readouterr().out
    for words in ("3 whole scans of 3 patients, 6 lesions", "sensitivity", "≥ 10 mm", "FROC"):
        assert words in printed


def test_a_network_that_finds_nothing_has_empty_tables_and_figures(network, manifest, tmp_path):
    whole_scans.evaluate(_biased(network, -50.0), [_split(x="train")], manifest, tmp_path)
    candidates = pd.read_csv(tmp_path / "scans" / "candidates.csv")
    figures = json.loads((tmp_path / "scans" / "metrics.json").read_text())
    assert len(candidates) == 0
    assert {"patient_id", "score", "volume_mm3", "is_false"} <= set(candidates)
    assert figures["scans_all_missed"] == 3
    assert figures["dice"]["value"] == figures["sensitivity"]["value"] == 0.0
    assert figures["hausdorff_95_mm"]["value"] is None


def test_each_patient_of_a_k_fold_run_is_judged_by_a_network_that_has_not_seen_it(
    network, manifest, tmp_path
):
    splits = [_split(p0="test", p1="train", p2="train"), _split(p0="train", p1="test", p2="train")]
    splits.append(_split(p0="validation", p1="train", p2="test"))
    (silent,) = _biased(network, -50.0).members
    several = dataclasses.replace(network, members=(*network.members, silent, silent))
    whole_scans.evaluate(several, splits, manifest, tmp_path)
    scans = pd.read_csv(tmp_path / "scans" / "scans.csv").set_index("patient_id")
    assert scans.found_mm3["p0"] > 0
    assert scans.found_mm3["p1"] == scans.found_mm3["p2"] == 0


def test_a_classifier_has_no_scans_to_segment(tmp_path):
    (tmp_path / "config.json").write_text('{"task": "classification"}')
    with pytest.raises(UsageError, match="evaluates a segmenter"):
        evaluate.run(tmp_path, "lesions.csv")


def test_a_scan_without_a_lesion_counts_for_false_positives_alone(network, manifest, tmp_path):
    table = pd.read_csv(manifest, dtype=str)
    table.loc[len(table)] = ["healthy", "", "2.nii", "", ""]  # nodules, but who knows of them?
    table = table[table.patient_id != "p2"]
    path = manifest.parent / "with-healthy.csv"
    table.to_csv(path, index=False)
    whole_scans.evaluate(network, [_split(x="train")], path, tmp_path)
    figures = json.loads((tmp_path / "scans" / "metrics.json").read_text())
    assert figures["scans"] == 3
    assert figures["lesions"] == figures["sensitivity"]["n"] == 4
    assert figures["empty_scans"] == figures["empty_scans_with_finding"] == 1
    assert figures["dice"]["n"] == 2
    candidates = pd.read_csv(tmp_path / "scans" / "candidates.csv")
    assert candidates.is_false[candidates.patient_id == "healthy"].all()


def test_what_an_earlier_judgement_left_is_replaced_whole(network, manifest, tmp_path):
    folder = tmp_path / "scans"
    whole_scans.evaluate(network, [_split(x="train")], manifest, tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    bad = manifest.parent / "bad.csv"
    table = pd.read_csv(manifest, dtype=str)
    air = Volume(np.full(SHAPE, -1000, np.int16), AFFINE)
    volume.write(manifest.parent / "air.nii", air)
    table.loc[len(table)] = ["air", "", "air.nii", "", ""]
    table.to_csv(bad, index=False)
    with pytest.raises(InputError, match=r"air\.nii"):
        whole_scans.evaluate(network, [_split(x="train")], bad, tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    whole_scans.evaluate(network, [_split(p0="train", p1="train")], manifest, tmp_path)
    assert [path.name for path in (folder / "masks").iterdir()] == ["scan-000.nii.gz"]


def test_a_scan_is_not_both_healthy_and_with_a_lesion(network, manifest, tmp_path):
    table = pd.read_csv(manifest, dtype=str)
    table.loc[len(table)] = ["p2", "", "2.nii", "", ""]
    path = manifest.parent / "both.csv"
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match="the scan has another row"):
        whole_scans.evaluate(network, [_split(x="train")], path, tmp_path)


def _files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_stopped_judgement_leaves_the_former_one_and_goes_on_to_the_same_end(
    network, manifest, tmp_path, monkeypatch
):
    split = _split(x="train")
    whole_scans.evaluate(network, [split], manifest, tmp_path / "whole")
    whole_scans.evaluate(network, [_split(p0="train", p2="train")], manifest, tmp_path / "run")
    former = _files(tmp_path / "run" / "scans")
    find, seen = reference_scan.find, []

    def stopping(segmenter, scan):
        seen.append(scan.lesion_ids[0])
        if scan.lesion_ids[0] == "p2-1":
            raise KeyboardInterrupt
        return find(segmenter, scan)

    with monkeypatch.context() as patch:
        patch.setattr(reference_scan, "find", stopping)
        with pytest.raises(KeyboardInterrupt):
            whole_scans.evaluate(network, [split], manifest, tmp_path / "run")
    assert seen == ["p0-1", "p2-1"]  # p1 was judged before
    assert _files(tmp_path / "run" / "scans") == former
    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(reference_scan, "find", lambda *given: seen.append(given) or find(*given))
        whole_scans.evaluate(network, [split], manifest, tmp_path / "run")
    assert len(seen) == 1
    assert _files(tmp_path / "run" / "scans") == _files(tmp_path / "whole" / "scans")


def test_nothing_that_another_network_or_setting_found_is_told_as_new(network, manifest, tmp_path):
    split = _split(x="train")
    whole_scans.evaluate(network, [split], manifest, tmp_path)
    assert len(pd.read_csv(tmp_path / "scans" / "candidates.csv"))
    whole_scans.evaluate(_biased(network, -50.0), [split], manifest, tmp_path)
    assert pd.read_csv(tmp_path / "scans" / "candidates.csv").empty
    strict = network.config.copy_and_resolve_references()
    strict.predict.min_volume_mm3 = 1e9
    whole_scans.evaluate(network, [split], manifest, tmp_path)
    whole_scans.evaluate(_changed(network, config=strict), [split], manifest, tmp_path)
    assert pd.read_csv(tmp_path / "scans" / "candidates.csv").empty


def test_a_lesion_threshold_folds_findings_away_and_leaves_the_others_figures(
    network, manifest, tmp_path, capsys, monkeypatch
):
    all_of_them = whole_scans.evaluate(network, [_split(x="train")], manifest, tmp_path)
    before = pd.read_csv(tmp_path / "scans" / "candidates.csv")
    threshold = float(before.max_probability.median())
    config = network.config.copy_and_resolve_references()
    config.predict.lesion_threshold = threshold
    strict = _changed(network, config=config)
    capsys.readouterr()
    monkeypatch.setattr(reference_scan, "find", None)  # nothing is segmented anew
    figures = whole_scans.evaluate(strict, [_split(x="train")], manifest, tmp_path)
    assert figures["networks"] != all_of_them["networks"]
    after = pd.read_csv(tmp_path / "scans" / "candidates.csv")
    pd.testing.assert_frame_equal(after.drop(columns="threshold"), before)
    for name in ("sensitivity", "false_positives_per_scan", "froc"):
        assert figures[name] == all_of_them[name]
    kept = figures["at_threshold"]["false_positives_per_scan"]["value"]
    assert kept == (before.is_false & (before.score >= threshold)).sum() / 3
    assert kept < figures["false_positives_per_scan"]["value"]
    assert "at the lesion threshold: sensitivity" in capsys.readouterr().out


def test_healthy_scans_alone_have_false_positives_alone(network, manifest, tmp_path, capsys):
    path = manifest.parent / "healthy.csv"
    path.write_text("patient_id,lesion_id,image,mask\nq0,,0.nii,\nq1,,1.nii,\n")
    whole_scans.evaluate(network, [_split(x="train")], path, tmp_path)
    figures = json.loads((tmp_path / "scans" / "metrics.json").read_text())
    assert figures["scans"] == figures["empty_scans"] == 2
    assert figures["sensitivity"]["value"] is figures["froc"]["mean"]["value"] is None
    candidates = pd.read_csv(tmp_path / "scans" / "candidates.csv")
    assert candidates.is_false.all()
    assert figures["false_positives_per_scan"]["value"] == len(candidates) / 2 > 0
    assert "without a lesion, for false positives alone: 2 scans" in capsys.readouterr().out

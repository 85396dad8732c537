"""From a scan to an answer by the command line: chests, in which a small V-Net finds nodules."""

import importlib.util
import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

import dtc_jax
from dtc_jax.experiment import network
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import classify
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.prediction import answer, predictors
from tests.dicom_files import make_slices, save_slices

NOTICE = "For research use only"


def _json(path):
    return json.loads(path.read_text())


def test_an_answer_has_all_that_the_readme_lists(answered, chests):
    names = {str(path.relative_to(answered)) for path in answered.rglob("*") if path.is_file()}
    assert names == {
        *("lesions.csv", "lesions.nii.gz", "scan.nii.gz", "review.html", "summary.json"),
        *("lungs.nii.gz", "run.json", "heat_maps/lesion-001.nii.gz", "heat_maps/lesion-002.nii.gz"),
    }
    scan = volume.read_image(chests / "0.nii.gz")
    read = volume.read_image(answered / "scan.nii.gz")
    np.testing.assert_array_equal(read.array, scan.array)
    np.testing.assert_allclose(read.affine, scan.affine)
    table = pd.read_csv(answered / "lesions.csv")
    assert [*table] == [*answer.COLUMNS]
    assert table[["lesion_probability", "is_lesion"]].isna().all(axis=None)  # no such network
    assert (table.notice == NOTICE).all()
    assert _json(answered / "summary.json")["notice"] == NOTICE
    assert _json(answered / "run.json")["notice"] == NOTICE
    assert NOTICE in (answered / "review.html").read_text()


def test_a_scan_that_ends_within_the_lungs_says_so(predict, chests, answered, tmp_path):
    assert not _json(answered / "run.json")["scan"]["notes"]
    whole = volume.read_image(chests / "0.nii.gz")
    half = Volume(whole.array[: len(whole.array) // 2], whole.affine)
    volume.write(tmp_path / "half.nii.gz", half)
    out = tmp_path / "out"
    assert predict(f"--scan={tmp_path / 'half.nii.gz'}", f"--out={out}") == 0
    note = "The scan ends within the lungs (top); what lies beyond is not judged."
    assert _json(out / "run.json")["scan"]["notes"] == [note]
    assert _json(out / "run.json")["scan"]["warnings"] == [note]
    page = (out / "review.html").read_text()
    assert page.count(note) == 1
    assert page.index('class="warnings"') < page.index(note) < page.index("</header>")
    assert page.index("</details>") < page.index(note)  # of what is folded away
    assert 'class="warnings"' not in (answered / "review.html").read_text()


def test_the_lesions_are_those_of_the_scan(answered, chests):
    truth = volume.read_image(chests / "0-mask.nii.gz").array > 0
    found = volume.read_image(answered / "lesions.nii.gz")
    np.testing.assert_allclose(found.affine, volume.read_image(chests / "0.nii.gz").affine)
    seen = found.array > 0
    assert 2 * (seen & truth).sum() / (seen.sum() + truth.sum()) > 0.9
    table = pd.read_csv(answered / "lesions.csv")
    assert table.lesion_id.tolist() == [1, 2]
    lungs = volume.read_image(answered / "lungs.nii.gz").array
    for row in table.itertuples():
        own = found.array == row.lesion_id
        assert row.side == {1: "right", 2: "left"}[np.bincount(lungs[own])[1:].argmax() + 1]
        planes = np.flatnonzero(own.any((1, 2)))
        assert row.slice == (planes[0] + planes[-1]) // 2 + 1  # of a file that begins at the feet
        assert row.diameter_mm == row.long_axis_mm >= row.short_axis_mm
        voxels = (found.array == row.lesion_id).sum()
        assert row.volume_mm3 == pytest.approx(voxels * np.prod(found.spacing_mm))
        heat = volume.read_image(answered / "heat_maps" / f"lesion-{row.lesion_id:03d}.nii.gz")
        middle_mm = heat.world((np.array(heat.shape) - 1) / 2)
        center_mm = [row.center_x_mm, row.center_y_mm, row.center_z_mm]
        np.testing.assert_allclose(middle_mm, center_mm, atol=1e-3)


def test_a_scan_that_is_stored_the_other_way_has_its_lesions_at_the_same_place(
    predict, answered, chests, tmp_path
):
    stored = nib.load(chests / "0.nii.gz")
    turn = [[0, -1], [1, -1], [2, -1]]  # to left, posterior, inferior
    turned = stored.as_reoriented(np.array(turn))
    assert nib.aff2axcodes(turned.affine) == ("L", "P", "I")
    nib.save(turned, tmp_path / "turned.nii.gz")
    assert predict(f"--scan={tmp_path / 'turned.nii.gz'}", f"--out={tmp_path / 'out'}") == 0
    for name in ("lesions.nii.gz", "heat_maps/lesion-001.nii.gz", "scan.nii.gz"):
        mine, theirs = (nib.load(one / name) for one in (tmp_path / "out", answered))
        if "heat" not in name:  # in the voxel order of the scan's own file
            np.testing.assert_allclose(mine.affine, turned.affine, atol=1e-3)
            assert mine.shape == turned.shape
            mine = nib.as_closest_canonical(mine)
        np.testing.assert_allclose(mine.affine, theirs.affine, atol=1e-3)
        np.testing.assert_allclose(mine.get_fdata(), theirs.get_fdata(), atol=1e-5)


def test_the_probabilities_are_those_of_the_classifier_at_its_threshold(answered, classifier):
    trained = network.load_with_threshold(classifier.workdir, "classification")
    threshold, own = trained.threshold, make_classifier(trained)
    scan, mask = (volume.read_image(answered / f"{n}.nii.gz") for n in ("scan", "lesions"))
    expected = [one.probability for one in classify.classify(own, scan, mask)]
    table = pd.read_csv(answered / "lesions.csv")
    np.testing.assert_allclose(table.refractory_probability, expected, atol=1e-6)
    assert (table.threshold == threshold).all()
    positive = table.refractory_probability >= threshold
    assert table.decision.tolist() == ["refractory" if one else "avid" for one in positive]
    figures = _json(answered / "summary.json")
    assert figures["lesions"] == 2
    assert figures["refractory_lesions"] == positive.sum()
    assert figures["highest_probability"] == pytest.approx(max(expected))
    share = table.volume_mm3[positive].sum() / table.volume_mm3.sum()
    assert figures["refractory_volume_share"] == pytest.approx(share)


def test_the_record_says_by_what_and_how_long(answered, segmenter):
    record = _json(answered / "run.json")
    assert record["networks"]["segmenter"]["workdir"] == str(segmenter.workdir)
    for hashes in record["networks"].values():
        assert len(hashes["weights"]) == len(hashes["config"]) == 64
    parts = ["read", "lungs", "segment", "classify and heat maps", "write"]
    assert list(record["seconds"]) == parts
    assert "jax" in record["versions"]


def test_a_scan_without_lesion_has_an_empty_table_and_the_notice_elsewhere(
    predict, chests, tmp_path, capsys
):
    out = tmp_path / "out"
    assert predict(f"--scan={chests / '2.nii.gz'}", f"--out={out}") == 0
    said = capsys.readouterr().out
    assert "no lesion was found" in said
    assert NOTICE in said
    assert len(pd.read_csv(out / "lesions.csv")) == 0
    summary = _json(out / "summary.json")
    assert (summary["lesions"], summary["refractory_share"]) == (0, None)
    assert summary["notice"] == _json(out / "run.json")["notice"] == NOTICE
    assert not volume.read_image(out / "lesions.nii.gz").array.any()
    page = (out / "review.html").read_text()
    assert "No lesion was found in this scan" in page
    assert NOTICE in page


def test_an_answer_that_is_there_is_not_computed_again(predict, answered, chests, capsys):
    before = (answered / "run.json").read_bytes()
    assert predict(f"--scan={chests / '0.nii.gz'}", f"--out={answered}") == 0
    assert "nothing was computed again" in capsys.readouterr().out
    assert predict(f"--scan={chests / '1.nii.gz'}", f"--out={answered}") == 1
    assert "choose another --out" in capsys.readouterr().err
    assert (answered / "run.json").read_bytes() == before


def test_the_lungs_that_are_given_are_used(predict, chests, tmp_path, capsys):
    scan = volume.read_image(chests / "0.nii.gz")
    half = np.zeros(scan.shape, bool)
    half[:, :, :32] = True
    volume.write(tmp_path / "lungs.nii.gz", Volume(half, scan.affine))
    arguments = (f"--scan={chests / '0.nii.gz'}", f"--lungs={tmp_path / 'lungs.nii.gz'}")
    assert predict(*arguments, f"--out={tmp_path / 'out'}") == 0
    table = pd.read_csv(tmp_path / "out" / "lesions.csv")
    assert len(table) >= 1
    assert (table.center_x_mm < 32 * 3.6).all()
    assert _json(tmp_path / "out" / "run.json")["lungs"] == "given"
    volume.write(tmp_path / "lungs.nii.gz", Volume(half[:-1], scan.affine))
    assert predict(*arguments, f"--out={tmp_path / 'none'}") == 1
    assert "export the mask on the grid of the scan" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_dicom_series_gives_the_same_lesions_and_a_segmentation(
    predict, answered, tmp_path, chests
):
    scan = volume.read_image(chests / "0.nii.gz")
    folder = save_slices(make_slices(scan), tmp_path / "ct")
    out = tmp_path / "out"
    assert predict(f"--scan={folder}", f"--out={out}") == 0
    mine, theirs = (pd.read_csv(one / "lesions.csv") for one in (out, answered))
    pd.testing.assert_frame_equal(mine, theirs, atol=1e-4, check_exact=False)
    first, second = (volume.read_image(one / "lesions.nii.gz") for one in (out, answered))
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-4)
    record = _json(out / "run.json")
    assert record["dicom_seg"] == "lesions.dcm"
    assert record["scan"]["series"].startswith("series 1: 30 axial CT slices every 5.00 mm")
    assert len(pydicom.dcmread(out / "lesions.dcm").SegmentSequence) == 2


def test_without_highdicom_the_answer_is_there_and_says_so(
    predict, chests, tmp_path, capsys, monkeypatch
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "highdicom" else found(name)
    )
    folder = save_slices(make_slices(volume.read_image(chests / "0.nii.gz")), tmp_path / "ct")
    assert predict(f"--scan={folder}", f"--out={tmp_path / 'out'}") == 0
    assert "highdicom is not installed" in capsys.readouterr().out
    assert not (tmp_path / "out" / "lesions.dcm").exists()
    assert (tmp_path / "out" / "lesions.nii.gz").is_file()


def test_outlined_lesions_are_classified_without_a_segmenter(
    call, chests, classifier, tmp_path, capsys
):
    scan, mask = (chests / f"0{name}.nii.gz" for name in ("", "-mask"))
    given = ("--mode=predict", f"--scan={scan}", f"--classifier={classifier.workdir}")
    out = tmp_path / "out"
    assert call(*given, f"--lesions={mask}", f"--out={out}") == 0
    table = pd.read_csv(out / "lesions.csv")
    own = make_classifier(network.load_with_threshold(classifier.workdir, "classification"))
    image, numbers = volume.read_image(scan), volume.read_image(mask)
    expected = [one.probability for one in classify.classify(own, image, numbers)]
    np.testing.assert_allclose(table.refractory_probability, expected, atol=1e-6)
    assert table.mean_probability.isna().all()  # no network has found them
    np.testing.assert_array_equal(volume.read_image(out / "lesions.nii.gz").array, numbers.array)
    assert (out / "heat_maps" / "lesion-002.nii.gz").is_file()
    assert [*_json(out / "run.json")["networks"]] == ["classifier"]
    assert "given as a mask of 2 numbered lesions" in (out / "review.html").read_text()
    assert call(*given, f"--lesions={mask}", f"--out={out}") == 0
    assert "already contains this answer" in capsys.readouterr().out

    points = tmp_path / "points.csv"
    rows = [f"{r.center_x_mm},{r.center_y_mm},{r.center_z_mm},12" for r in table.itertuples()]
    points.write_text("\n".join(["x_mm,y_mm,z_mm,radius_mm", *rows]))
    assert call(*given, f"--lesions={points}", f"--out={out}") == 1  # another answer is there
    assert call(*given, f"--lesions={points}", f"--out={tmp_path / 'balls'}") == 0
    page = (tmp_path / "balls" / "review.html").read_text()
    told = page[page.index('class="warnings"') : page.index("</header>")]  # not folded away
    assert "each stands for a ball" in told
    review = tmp_path / "review.csv"
    review.write_text("lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n")
    assert call("--mode=predict", f"--out={tmp_path / 'balls'}", f"--review={review}") == 0
    assert len(pd.read_csv(tmp_path / "balls" / "reviewed" / "lesions.csv")) == 1


def test_findings_below_the_segmenters_threshold_are_folded_away(
    segmenter, classifier, answered, chests, call, tmp_path
):
    before = pd.read_csv(answered / "lesions.csv")
    threshold = float(before.max_probability.mean())
    run = tmp_path / "segmenter"
    shutil.copytree(segmenter.workdir, run)
    config = _json(run / "config.json")
    config["predict"]["lesion_threshold"] = threshold
    config["data"]["about"] = "Trained on drawn chests."
    (run / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    networks = (f"--segmenter={run}", f"--classifier={classifier.workdir}")
    assert call("--mode=predict", f"--scan={chests / '0.nii.gz'}", f"--out={out}", *networks) == 0
    after = pd.read_csv(out / "lesions.csv")
    assert after.max_probability.tolist() == before.max_probability.tolist()
    assert after.lesion_probability.tolist() == before.max_probability.tolist()
    assert sorted(after.is_lesion) == [False, True]
    assert _json(out / "run.json")["networks"]["segmenter"]["lesion_threshold"] == threshold
    page = (out / "review.html").read_text()
    for words in ("Taken for a lesion", "The segmenter", "Trained on drawn chests."):
        assert words in page
    found = dtc_jax.load(run).segment(nib.load(chests / "0.nii.gz"))
    assert found.lesions.is_lesion.tolist() == after.is_lesion.tolist()


def test_networks_are_the_same_whatever_rounding_does_to_their_thresholds():
    own = {"workdir": "run", "weights": "ab", "threshold": 0.5649775}
    first = {"classifier": own, "segmenter": {"weights": "cd"}}
    for change, same in (
        ({"threshold": 0.5649775 + 2e-9, "workdir": "elsewhere"}, True),
        ({"threshold": 0.565}, False),
        ({"weights": "ac"}, False),
    ):
        assert predictors.agree(first, first | {"classifier": own | change}) == same
    assert not predictors.agree(first, {"classifier": own})
    assert not predictors.agree(first, first | {"classifier": {"weights": "ab"}})

"""A review read back: what was rejected, redrawn, added or removed, and what it is now."""

import json
import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk

from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from tests.dicom_files import make_slices, save_slices


def _changes(folder):
    return pd.read_csv(folder / "reviewed" / "changes.csv").set_index("lesion_id")


def _lesions(folder):
    return pd.read_csv(folder / "lesions.csv").set_index("lesion_id")


def _edited(folder, edit):
    """The mask as a program for drawing saves it: NRRD, along other axes."""
    mask = volume.read_image(folder / "lesions.nii.gz")
    array = mask.array.astype(np.uint8)
    edit(array)
    path = folder.parent / "edited.nrrd"
    image = sitk.ReadImage(str(folder / "lesions.nii.gz"))
    drawn = sitk.GetImageFromArray(array)
    drawn.SetSpacing(image.GetSpacing())
    lps = mask.affine[:3, [2, 1, 0]] / mask.spacing_mm[::-1] * np.array([[-1.0], [-1.0], [1.0]])
    drawn.SetDirection(lps.ravel().tolist())
    drawn.SetOrigin((mask.affine[:3, 3] * [-1, -1, 1]).tolist())
    sitk.WriteImage(drawn, str(path))
    return path


def test_a_rejected_lesion_is_gone_and_the_others_are_as_they_were(review, folder):
    rows = ['1,reject,"=1+1, said he",Ann', "2,accept,,Ann"]
    before = _lesions(folder)
    assert review(rows) == 0
    after = _lesions(folder / "reviewed")
    pd.testing.assert_frame_equal(after, before.loc[[2]], check_exact=False, atol=1e-6)
    mask = volume.read_image(folder / "reviewed" / "lesions.nii.gz")
    assert set(np.unique(mask.array)) == {0, 2}
    heat_maps = [path.name for path in (folder / "reviewed" / "heat_maps").iterdir()]
    assert heat_maps == ["lesion-002.nii.gz"]
    changes = _changes(folder)
    assert changes.change.tolist() == ["rejected", "accepted"]
    assert changes.comment[1] == "'=1+1, said he"
    assert changes.reviewer.tolist() == ["Ann", "Ann"]
    assert np.isnan(changes.volume_after_mm3[1])
    assert changes.volume_after_mm3[2] == pytest.approx(changes.volume_before_mm3[2])
    assert (changes.notice == "For research use only").all()
    record = json.loads((folder / "reviewed" / "run.json").read_text())
    assert record["kind"] == "review"
    assert record["review"]["reviewers"] == ["Ann"]
    assert len(_lesions(folder)) == 2  # what was predicted stays


def test_what_was_drawn_becomes_the_final_region(review, folder):
    before = _lesions(folder)

    def edit(array):
        box = np.argwhere(array == 1)
        array[box[:, 0].min()][array[box[:, 0].min()] == 1] = 0  # the lowest slice of lesion 1
        array[array == 2] = 0
        array[12:14, 20:23, 20:23] = 9

    path = _edited(folder, edit)
    assert review(["1,accept,,", "2,,not there,"], f"--mask={path}") == 0
    changes = _changes(folder)
    assert changes.change.to_dict() == {1: "redrawn", 2: "removed", 9: "added"}
    after = _lesions(folder / "reviewed")
    assert after.index.tolist() == [1, 9]
    assert after.volume_mm3[1] < before.volume_mm3[1]
    assert changes.volume_after_mm3[1] == pytest.approx(after.volume_mm3[1])
    assert after.volume_mm3[9] == pytest.approx(2 * 3 * 3 * 5 * 3.6 * 3.6)
    assert after.mean_probability.isna().all()  # no network drew these
    assert after.refractory_probability.between(0, 1).all()
    assert after.refractory_probability[1] != before.refractory_probability[1]
    planes = np.flatnonzero((volume.read_image(path).array == 1).any((1, 2)))
    assert after.slice.to_dict() == {1: (planes[0] + planes[-1]) // 2 + 1, 9: 13}
    assert after.side[9] in ("right", "left")
    found = volume.read_image(folder / "reviewed" / "lesions.nii.gz").array
    expected = volume.read_image(path)
    np.testing.assert_array_equal(found, expected.array)
    assert (folder / "reviewed" / "review.html").is_file()


def test_who_drew_a_lesion_is_said_or_that_nobody_says_so(review, folder, capsys):
    def edit(array):
        array[12:14, 20:23, 20:23] = 9

    path = _edited(folder, edit)
    both = ["1,accept,,Ann", "2,,,"]
    assert review(both, f"--mask={path}") == 0
    said = capsys.readouterr().out
    assert "No reviewer is named for lesion 9; fill in the review's column" in said
    assert _changes(folder).reviewer.fillna("").to_dict() == {1: "Ann", 2: "", 9: ""}
    record = json.loads((folder / "reviewed" / "run.json").read_text())
    assert record["review"]["without_reviewer"] == [9]  # 2 is unreviewed
    page = (folder / "reviewed" / "review.html").read_text()
    assert "1 of them without a reviewer" in page
    assert review([*both, "9,accept,missed,Bea"], f"--mask={path}") == 0
    assert "No reviewer" not in capsys.readouterr().out
    changes = _changes(folder)
    assert changes.change.to_dict() == {1: "accepted", 2: "unreviewed", 9: "added"}
    assert (changes.reviewer[9], changes.comment[9]) == ("Bea", "missed")
    record = json.loads((folder / "reviewed" / "run.json").read_text())
    assert record["review"]["reviewers"] == ["Ann", "Bea"]
    assert record["review"]["without_reviewer"] == []
    assert review([*both, "9,reject,,Bea"], f"--mask={path}") == 1
    assert "row 4: the verdict of lesion 9 is reject, but it was added" in capsys.readouterr().err


def test_a_readers_word_stands_above_the_network_that_tells_lesions_from_others(
    review, folder, capsys
):
    table = pd.read_csv(folder / "lesions.csv")
    table["lesion_probability"], table["is_lesion"] = [0.2, 0.1], [False, False]
    table.to_csv(folder / "lesions.csv", index=False)
    assert review(["1,accept,,Ann", "2,,,"]) == 0
    assert "1 finding below the threshold of a lesion" in capsys.readouterr().out
    after = _lesions(folder / "reviewed")
    assert after.lesion_probability.to_dict() == {1: 0.2, 2: 0.1}
    assert after.is_lesion.to_dict() == {1: True, 2: False}
    figures = json.loads((folder / "reviewed" / "summary.json").read_text())
    assert (figures["lesions"], figures["findings_below_threshold"]) == (1, 1)
    assert figures["volume_mm3"] == pytest.approx(after.volume_mm3[1])

    def edit(array):
        array[array == 2] = 0
        array[12:14, 20:23, 20:23] = 3

    assert review(["1,,,", "2,,,"], f"--mask={_edited(folder, edit)}") == 0
    after = _lesions(folder / "reviewed")
    assert after.is_lesion.to_dict() == {1: False, 3: True}
    assert np.isnan(after.lesion_probability[3])  # no network saw this region
    diagonal_mm = pytest.approx(3 * 3.6 * 2**0.5)  # of a square, and across it
    assert (after.long_axis_mm[3], after.short_axis_mm[3]) == (diagonal_mm, diagonal_mm)


def test_an_answer_of_an_earlier_version_is_reviewed(review, folder):
    (folder / "lungs.nii.gz").unlink()
    table = pd.read_csv(folder / "lesions.csv")
    table.drop(columns=["short_axis_mm", "side", "slice", "is_lesion"]).to_csv(
        folder / "lesions.csv", index=False
    )
    record = json.loads((folder / "run.json").read_text())
    del record["scan"]["slices"]
    (folder / "run.json").write_text(json.dumps(record))
    assert review(["1,accept,,", "2,,,"]) == 0
    after = _lesions(folder / "reviewed")
    assert after.short_axis_mm.gt(0).all()  # measured again
    assert after[["side", "slice"]].isna().all(axis=None)


def test_a_rejected_lesion_is_rejected_also_in_the_mask(review, folder):
    path = _edited(folder, lambda array: None)
    assert review(["1,reject,,", "2,,,"], f"--mask={path}") == 0
    assert _changes(folder).change.to_dict() == {1: "rejected", 2: "unreviewed"}
    assert _lesions(folder / "reviewed").index.tolist() == [2]


def test_if_all_are_rejected_none_is_left(review, folder, capsys):
    assert review(["1,reject,,", "2,reject,,"]) == 0
    assert len(_lesions(folder / "reviewed")) == 0
    assert "no lesion is left" in capsys.readouterr().out
    page = (folder / "reviewed" / "review.html").read_text()
    assert "No lesion is left after the review" in page
    assert "No lesion was found" not in page


def test_what_does_not_fit_is_refused_and_nothing_written(review, folder, capsys, classifier):
    scan = volume.read_image(folder / "scan.nii.gz")
    both = ["1,accept,,", "2,accept,,"]
    other = folder.parent / "other.nii.gz"
    volume.write(other, Volume(np.ones(scan.shape, np.uint8)[:-1], scan.affine))
    brighter = folder.parent / "brighter.nii.gz"
    volume.write(brighter, Volume(scan.array + np.int16(1), scan.affine))
    moved = scan.affine.copy()
    moved[:3, 3] += 7
    away, negative = folder.parent / "away.nii.gz", folder.parent / "negative.nii.gz"
    volume.write(away, Volume(np.ones(scan.shape, np.uint8), moved))
    volume.write(negative, Volume(np.full(scan.shape, -3, np.int16), scan.affine))
    for rows, arguments, words in [
        ([*both, "3,accept,,"], [], "lesion 3 is not one of the 2 lesions"),
        (both[:1], [], "no row for lesion 2"),
        (["1,perhaps,,", both[1]], [], "accept, reject or empty"),
        (both, [f"--mask={other}"], "has (29, 50, 64) voxels (z, y, x), its scan has (30, 50, 64)"),
        (both, [f"--mask={away}"], "mm away from its scan"),
        (both, [f"--mask={away}"], "as its reference volume"),
        (both, [f"--mask={negative}"], "export the segmentation as a labelmap"),
        (both, [f"--mask={folder / 'none.nrrd'}"], "no such file"),
        (both, [f"--scan={brighter}"], "is not the scan of the prediction"),
        (both, [f"--classifier={folder}"], "not the folder of a run"),
    ]:
        assert review(rows, *arguments) == 1, words
        assert words in capsys.readouterr().err
        assert not (folder / "reviewed").exists()


def test_a_wrong_label_is_refused_before_the_classifier_is_looked_for(
    call, folder, tmp_path, capsys
):
    path = tmp_path / "labelled.csv"
    given = ("--mode=predict", f"--out={folder}", f"--review={path}", f"--classifier={tmp_path}/no")
    path.write_text("lesion_id,verdict,comment,reviewer,label\n1,accept,,,maybe\n2,accept,,,\n")
    assert call(*given) == 1
    assert "row 2: label is 'maybe'" in capsys.readouterr().err
    path.write_text("lesion_id,verdict,comment,reviewer,label,Label\n1,,,,1,0\n2,,,,,\n")
    assert call(*given) == 1
    assert "column label appears twice" in capsys.readouterr().err


@pytest.mark.extras
def test_another_classifier_is_refused_and_a_moved_one_is_found(
    review, folder, folds, classifier, tmp_path, capsys
):
    both = ["1,accept,,", "2,accept,,"]
    assert review(both, f"--classifier={folds.workdir}") == 1
    assert "is not the classifier that predicted" in capsys.readouterr().err
    record = json.loads((folder / "run.json").read_text())
    record["networks"]["classifier"]["workdir"] = str(tmp_path / "gone")
    (folder / "run.json").write_text(json.dumps(record))
    assert review(both) == 1
    assert "give its folder by --classifier" in capsys.readouterr().err
    moved = shutil.copytree(classifier.workdir, tmp_path / "moved")
    assert review(both, f"--classifier={moved}") == 0


def test_a_folder_without_a_prediction_has_nothing_to_review(review, folder, capsys):
    (folder / "run.json").unlink()
    assert review(["1,accept,,"]) == 1
    assert "not the folder of a predicted scan" in capsys.readouterr().err


def test_a_later_review_deletes_no_file_that_somebody_put_beside_the_first(review, folder, capsys):
    assert review(["1,accept,,", "2,reject,,"]) == 0
    (folder / "reviewed" / "edited.nrrd").write_text("hours of work")
    assert review(["1,accept,,", "2,accept,,"]) == 1
    assert "move them away first" in capsys.readouterr().err
    assert (folder / "reviewed" / "edited.nrrd").read_text() == "hours of work"
    assert _lesions(folder / "reviewed").index.tolist() == [1]


@pytest.mark.parametrize("content", [None, "", "lesion_id;volume_mm3\n1;2\n"])
def test_a_table_that_was_deleted_or_saved_anew_is_no_stack_trace(review, folder, capsys, content):
    (folder / "lesions.csv").unlink()
    if content is not None:
        (folder / "lesions.csv").write_text(content)
    assert review(["1,accept,,", "2,accept,,"]) == 1
    assert "lesions.csv: " in capsys.readouterr().err
    assert not (folder / "reviewed").exists()


def test_the_dicom_seg_of_a_review_says_that_a_person_confirmed_it(predict, call, chests, tmp_path):
    scan = volume.read_image(chests / "0.nii.gz")
    series = save_slices(make_slices(scan), tmp_path / "ct")
    out = tmp_path / "out"
    assert predict(f"--scan={series}", f"--out={out}") == 0
    path = tmp_path / "review.csv"
    path.write_text("lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n")
    arguments = ("--mode=predict", f"--out={out}", f"--review={path}", f"--scan={series}")
    assert call(*arguments) == 0
    kinds = {}
    for name in (out, out / "reviewed"):
        found = pydicom.dcmread(name / "lesions.dcm")
        kinds[name.name] = [one.SegmentAlgorithmType for one in found.SegmentSequence]
        labels = [one.SegmentLabel for one in found.SegmentSequence]
    assert kinds == {"out": ["AUTOMATIC", "AUTOMATIC"], "reviewed": ["SEMIAUTOMATIC"]}
    assert labels == ["Lesion 1"]


def test_a_lesion_can_be_added_where_none_was_found(predict, call, chests, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(f"--scan={chests / '2.nii.gz'}", f"--out={out}") == 0
    (tmp_path / "review.csv").write_text("lesion_id,verdict,comment,reviewer\n")

    def edit(array):
        array[12:14, 20:23, 20:23] = 1

    drawn = _edited(out, edit)
    arguments = ("--mode=predict", f"--out={out}", f"--review={tmp_path / 'review.csv'}")
    assert call(*arguments) == 0
    assert len(_changes(out)) == 0
    assert call(*arguments, f"--mask={drawn}") == 0  # a later review replaces the one before
    assert _changes(out).change.to_dict() == {1: "added"}
    assert _lesions(out / "reviewed").index.tolist() == [1]
    again = ("--mode=predict", f"--out={out / 'reviewed'}", arguments[2])
    assert call(*again) == 1
    assert "is a review itself" in capsys.readouterr().err
    assert predict(f"--scan={chests / '2.nii.gz'}", f"--out={out / 'reviewed'}") == 1

"""Reviews of a batch, what they are bound to, and the rows of a manifest that they become."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort import manifest
from dtc_jax.imaging import volume


def test_of_a_batch_one_scan_is_reviewed(predict, call, chests, tmp_path, capsys):
    (tmp_path / "scans.csv").write_text(f"image,scan_id\n{chests / '0.nii.gz'},a\n")
    out = tmp_path / "out"
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={out}") == 0
    path = tmp_path / "review.csv"
    path.write_text("lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n")
    assert call("--mode=predict", f"--out={out}", f"--review={path}") == 1
    assert "give the folder of the reviewed one in it, or as --review" in capsys.readouterr().err
    assert call("--mode=predict", f"--out={out / 'a'}", f"--review={path}") == 0
    changes = pd.read_csv(out / "a" / "reviewed" / "changes.csv")
    assert changes.change.tolist() == ["accepted", "rejected"]
    before = (out / "a" / "reviewed" / "run.json").read_bytes()
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={out}") == 0
    assert (out / "a" / "reviewed" / "run.json").read_bytes() == before


def test_a_review_gives_rows_of_a_manifest_and_ignores_what_nobody_has_seen(review, folder):
    assert review(["1,accept,,Ann", "2,,,"]) == 0
    (row,) = manifest.read_manifest(folder / "reviewed" / "manifest.csv").to_dict("records")
    assert row["patient_id"].startswith("scan-")  # no pseudonym was given
    assert (row["mask_label"], row["change"], row["reviewer"]) == (1, "accepted", "Ann")
    assert np.isnan(row["label"])
    mask, ignored = (volume.read_image(row[name]).array for name in ("mask", "ignore"))
    np.testing.assert_array_equal(ignored > 0, mask == 2)
    assert volume.read_image(row["lungs"]).array.any()
    assert review(["1,reject,,Ann", "2,reject,,Ann"]) == 0
    path = folder / "reviewed" / "manifest.csv"
    (row,) = manifest.read_manifest(path, healthy=True).to_dict("records")
    assert pd.isna(row["lesion_id"])
    assert pd.isna(row["mask"])
    assert not (folder / "reviewed" / "unreviewed.nii.gz").exists()


def test_a_label_without_a_verdict_is_refused(review, folder, capsys):
    head = "lesion_id,verdict,comment,reviewer,label"
    assert review(["1,accept,,Ann,1", "2,,,,0"], head=head) == 1
    assert "lesion 2 has a label and no verdict; accept it, or leave" in capsys.readouterr().err
    assert not (folder / "reviewed").exists()
    assert review(["1,accept,,Ann,1", "2,reject,,Ann,0"], head=head) == 0


@pytest.mark.extras
def test_segment_review_classify_are_three_commands(
    predict, call, chests, classifier, tmp_path, capsys
):
    scans = [f"{chests / f'{i}.nii.gz'},w{i},s{i}" for i in (0, 1, 2)]
    (tmp_path / "scans.csv").write_text("\n".join(["image,patient_id,scan_id", *scans]))
    out, reviews = tmp_path / "out", tmp_path / "reviews"
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={out}") == 0
    assert '"file": "review_s0.csv"' in (out / "s0" / "review.html").read_text()
    reviews.mkdir()
    head = "lesion_id,verdict,comment,reviewer,label"
    (reviews / "review_s0.csv").write_text(f"{head}\n1,accept,,A,1\n2,accept,,A,avid\n")
    given = ("--mode=predict", f"--out={out}", f"--review={reviews}")
    (reviews / "s1.csv").write_text(f"{head}\n1,accept,,A,perhaps\n2,reject,,A,\n")
    (reviews / "review_s0.csv").rename(tmp_path / "kept")
    assert call(*given) == 1
    assert "0 of 3 scans are reviewed now; there is no manifest yet" in capsys.readouterr().out
    (tmp_path / "kept").rename(reviews / "review_s0.csv")
    assert call(*given) == 1
    said = capsys.readouterr()
    assert "label is 'perhaps'" in said.out
    assert "1 of 2 reviews failed: s1" in said.err
    (reviews / "s1.csv").write_text(f"{head}\n1,accept,,A,refractory\n2,reject,,A,\n")
    assert call(*given) == 0
    table = manifest.read_manifest(out / "manifest.csv")
    assert table.lesion_id.tolist() == ["s0-1", "s0-2", "s1-1"]
    assert table.label.tolist() == [1, 0, 1]
    assert table.patient_id.tolist() == ["w0", "w0", "w1"]
    judge = ("--mode=evaluate", f"--workdir={classifier.workdir}")
    assert call(*judge, f"--manifest={out / 'manifest.csv'}") == 0
    judged = pd.read_csv(classifier.workdir / "cohorts" / "manifest" / "predictions.csv")
    answers = pd.read_csv(out / "s0" / "reviewed" / "lesions.csv")
    np.testing.assert_allclose(judged.score[:2], answers.refractory_probability, atol=1e-4)
    (reviews / "other.csv").write_text(head)
    assert call(*given) == 1
    assert "belongs to none of the batch" in capsys.readouterr().err


@pytest.fixture
def reviewed_batch(call, answered, tmp_path):
    """Reviews scans of a batch, as after a call that has predicted these alone."""
    out, reviews = tmp_path / "out", tmp_path / "reviews"

    def review(**patients):
        for name, patient in patients.items():
            shutil.copytree(answered, out / name)
            record = json.loads((out / name / "run.json").read_text())
            record["scan"] |= {"scan_id": name, "patient_id": patient}
            (out / name / "run.json").write_text(json.dumps(record))
        rows = [f"{name},{patient},done" for name, patient in patients.items()]
        (out / "scans.csv").write_text("\n".join(["scan_id,patient_id,status", *rows]))
        (out / "batch.json").write_text("{}")
        shutil.rmtree(reviews, ignore_errors=True)
        reviews.mkdir()
        for name in patients:
            decided = "lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n"
            (reviews / f"{name}.csv").write_text(decided)
        assert call("--mode=predict", f"--out={out}", f"--review={reviews}") == 0
        return manifest.read_manifest(out / "manifest.csv")

    return review


def test_what_was_reviewed_before_stays_in_the_manifest_of_a_batch(reviewed_batch):
    assert reviewed_batch(b="P1").lesion_id.tolist() == ["b-1"]
    assert reviewed_batch(a="P2", c="P3").lesion_id.tolist() == ["a-1", "b-1", "c-1"]


def test_scans_of_a_batch_that_may_be_of_one_patient_are_said(reviewed_batch, capsys):
    reviewed_batch(a="P1", b="P2")
    assert "patient_id" not in capsys.readouterr().out
    table = reviewed_batch(c="", d="")
    assert table.patient_id.tolist() == ["P1", "P2", "c", "d"]
    said = capsys.readouterr().out
    assert "2 scans have no patient_id, so each counts as a patient" in said


def test_a_mask_whose_lesions_were_counted_anew_is_refused(review, folder, capsys):
    numbers = volume.read_image(folder / "lesions.nii.gz")
    anew = folder.parent / "anew.nii.gz"
    volume.write(anew, volume.Volume((numbers.array == 2).astype(np.uint8), numbers.affine))
    assert review(["1,reject,,", "2,accept,,"], f"--mask={anew}") == 1
    assert f"{anew}: number 1 lies where lesion 2 was" in capsys.readouterr().err
    assert not (folder / "reviewed").exists()


def test_a_file_of_the_answer_that_has_changed_is_refused(review, folder, capsys):
    rows = ["1,accept,,", "2,accept,,"]
    for name in ("lesions.nii.gz", "scan.nii.gz"):
        kept = (folder / name).read_bytes()
        image = nib.load(folder / name)
        array = np.asanyarray(image.dataobj).copy()
        array[tuple(np.argwhere(array > 0)[0])] = 0
        nib.save(nib.Nifti1Image(array, image.affine, image.header), folder / name)
        assert review(rows) == 1
        assert f"{name}: was changed after the prediction" in capsys.readouterr().err
        assert not (folder / "reviewed").exists()
        (folder / name).write_bytes(kept)
    assert review(rows) == 0

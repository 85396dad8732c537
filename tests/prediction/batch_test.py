"""Many scans: a bad one does not stop the rest, a stopped batch goes on, another one is refused."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest

import launch
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.prediction import answer as answer_lib
from dtc_jax.prediction import batch, requests
from dtc_jax.prediction import scan as scan_lib
from dtc_jax.prediction.predictors import Predictors
from tests.dicom_files import make_slices, save_slices


@pytest.fixture
def scans(chests, tmp_path):
    """A CSV of the three chests, and a file among them that is none."""
    for i in range(3):
        os.symlink(chests / f"{i}.nii.gz", tmp_path / f"{i}.nii.gz")
    (tmp_path / "Doe_John.nii.gz").write_bytes(b"not a scan")
    rows = ["image,patient_id", "0.nii.gz,P1", "Doe_John.nii.gz,P2", "1.nii.gz,P1", "2.nii.gz,"]
    (tmp_path / "scans.csv").write_text("\n".join(rows))
    return tmp_path / "scans.csv"


def _table(out):
    return pd.read_csv(out / "scans.csv").set_index("scan_id")


def test_a_bad_scan_is_reported_and_the_rest_is_done(predict, scans, answered, capsys):
    out = scans.parent / "out"
    assert predict(f"--scans={scans}", f"--out={out}") == 1
    assert "1 of 4 scans failed" in capsys.readouterr().err
    table = _table(out)
    assert table.index.tolist() == ["P1", "P2", "P1-2", "scan-004"]
    assert table.status.tolist() == ["done", "failed", "done", "done"]
    assert table.message["P2"].startswith("the scan: has no NIfTI header; it is damaged")
    assert "Doe" not in (out / "scans.csv").read_text()
    assert table.lesions.fillna(-1).tolist() == [2, -1, 2, 0]
    assert (table.notice == "For research use only").all()
    assert not (out / "P2").exists()
    lesions = pd.read_csv(out / "lesions.csv")
    assert lesions.scan_id.tolist() == ["P1", "P1", "P1-2", "P1-2"]
    alone = pd.read_csv(answered / "lesions.csv")
    pd.testing.assert_frame_equal(lesions[[*alone]].head(2), alone)


def test_what_nobody_foresaw_in_one_scan_does_not_stop_the_rest(tmp_path, monkeypatch, capsys):
    def fail(request, *_):
        raise NotImplementedError(f"Doe's {request.path}")

    monkeypatch.setattr(scan_lib, "predict", fail)
    found = [requests.Request("a.nii", "a"), requests.Request("b.nii", "b")]
    with pytest.raises(InputError, match="2 of 2 scans failed"):
        batch.predict(found, Predictors(None, None, {}), tmp_path / "out", False)
    table = _table(tmp_path / "out")
    assert table.status.tolist() == ["failed", "failed"]
    assert table.message["a"].startswith("an unexpected error (NotImplementedError)")
    assert "Doe" not in (tmp_path / "out" / "scans.csv").read_text() + capsys.readouterr().out


def test_a_message_is_whole_where_the_scan_has_the_name_of_a_letter(
    predict, chests, tmp_path, monkeypatch
):
    slices = make_slices(volume.read_image(chests / "0.nii.gz"))
    save_slices(slices[:3] + slices[4:], tmp_path / "s")
    (tmp_path / "scans.csv").write_text("image\ns\n")
    monkeypatch.chdir(tmp_path)  # the paths are then as short as they are written
    assert predict("--scans=scans.csv", "--out=out") == 1
    (message,) = _table(tmp_path / "out").message
    assert message.startswith("the scan: slices are missing in")


def test_a_message_names_no_file_whose_path_begins_as_that_of_the_scan(predict, chests, tmp_path):
    os.symlink(chests / "0.nii.gz", tmp_path / "ct.nii.gz")
    (tmp_path / "ct.nii.gz-Doe.nii").write_bytes(b"no lungs")
    (tmp_path / "scans.csv").write_text("image,lungs\nct.nii.gz,ct.nii.gz-Doe.nii\n")
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={tmp_path / 'out'}") == 1
    (message,) = _table(tmp_path / "out").message
    assert message.startswith("the lungs: ")


@pytest.mark.parametrize(
    "name", ["DOE  JANE.nii", "DOE\N{NO-BREAK SPACE}JANE.nii", "DOE\tJANE.nii"]
)
def test_a_message_names_no_file_whatever_blanks_its_name_has(predict, tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"no scan")
    pd.DataFrame({"image": [name]}).to_csv(tmp_path / "scans.csv", index=False)
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={tmp_path / 'out'}") == 1
    (message,) = _table(tmp_path / "out").message
    assert message.startswith("the scan: ")
    assert "JANE" not in (tmp_path / "out" / "scans.csv").read_text()


@pytest.mark.extras
def test_a_scan_too_large_for_the_accelerator_does_not_stop_the_rest(predict, scans, monkeypatch):
    segment, seen = answer_lib.segment, []

    def full(*given):
        seen.append(given)
        if len(seen) == 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return segment(*given)

    monkeypatch.setattr(answer_lib, "segment", full)
    out = scans.parent / "out"
    assert predict(f"--scans={scans}", f"--out={out}") == 1
    assert _table(out).status.tolist() == ["failed", "failed", "done", "done"]
    message = _table(out).message["P1"]
    assert message.startswith("the scan: a scan of 30 × 50 × 64 voxels (z, y, x) does not fit")
    assert "Out of memory" in message


@pytest.mark.extras
def test_a_batch_stopped_by_a_signal_goes_on_where_it_was(
    predict, chests, scans, segmenter, classifier
):
    out, third = scans.parent / "out", scans.with_name("1.nii.gz")
    third.unlink()
    os.mkfifo(third)  # as of a disk that hangs: who reads it waits
    networks = (f"--segmenter={segmenter.workdir}", f"--classifier={classifier.workdir}")
    arguments = ("--mode=predict", *networks, f"--scans={scans}", f"--out={out}")
    with subprocess.Popen(
        [sys.executable, launch.__file__, *arguments],
        cwd=pathlib.Path(launch.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            for line in running.stdout:
                if line.startswith("P2: "):
                    break
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 75, said
    assert "same command again" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in out.iterdir()) == ["P1", "batch.json", "scans.csv"]
    before = (out / "P1" / "run.json").read_bytes()
    third.unlink()
    os.symlink(chests / "1.nii.gz", third)
    (scans.parent / "Doe_John.nii.gz").write_bytes((scans.parent / "2.nii.gz").read_bytes())
    assert predict(f"--scans={scans}", f"--out={out}") == 0
    assert (out / "P1" / "run.json").read_bytes() == before
    table = _table(out)
    assert table.status.tolist() == ["done"] * 4
    assert table.message["P1"] == "was done before"
    assert table.message.isna().sum() == 3


def test_an_older_answer_is_not_taken_for_that_of_a_scan_that_fails(predict, scans, capsys):
    out, own = scans.parent / "out", scans.with_name("own.nii.gz")
    one = scans.with_name("one.csv")
    one.write_text("image,scan_id\nown.nii.gz,a\n")
    own.write_bytes(scans.with_name("0.nii.gz").read_bytes())
    known = own.stat()
    command = (f"--scans={one}", f"--out={out}")
    assert predict(*command) == 0
    answer = {path.name: path.read_bytes() for path in (out / "a").iterdir() if path.is_file()}
    (out / "a" / "reviewed").mkdir()
    (out / "a" / "reviewed" / "changes.csv").write_text("hours of work")

    own.rename(own.with_name("away.nii.gz"))  # as where a disk is not mounted
    assert predict(*command) == 1
    row = _table(out).loc["a"]
    assert row.status == "failed"
    assert np.isnan(row.lesions)
    assert row.message.endswith("a/ contains an older answer, not this run's.")
    assert "older answer" in capsys.readouterr().out
    assert "failed" in (out / "a" / "OLDER-ANSWER.txt").read_text()
    assert len(pd.read_csv(out / "lesions.csv")) == 0
    for name, content in answer.items():
        assert (out / "a" / name).read_bytes() == content, name

    own.with_name("away.nii.gz").rename(own)
    os.utime(own, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert predict(*command) == 0  # it is that of the scan again
    assert _table(out).message["a"] == "was done before"
    assert not (out / "a" / "OLDER-ANSWER.txt").exists()
    assert (out / "a" / "reviewed" / "changes.csv").read_text() == "hours of work"


@pytest.mark.extras
def test_a_scan_that_has_changed_is_done_again(predict, scans):
    out = scans.parent / "out"
    one = scans.with_name("one.csv")
    one.write_text("image,scan_id\nown.nii.gz,a\n")
    own = scans.with_name("own.nii.gz")
    own.write_bytes(scans.with_name("0.nii.gz").read_bytes())
    assert predict(f"--scans={one}", f"--out={out}") == 0
    own.write_bytes(scans.with_name("2.nii.gz").read_bytes())
    assert predict(f"--scans={one}", f"--out={out}") == 0
    assert _table(out).lesions.tolist() == [0]
    (out / "a" / "edited.nrrd").write_text("hours of work")
    own.write_bytes(scans.with_name("1.nii.gz").read_bytes())
    assert predict(f"--scans={one}", f"--out={out}") == 1
    assert "contains 1 files or folders that are not part of the answer" in _table(out).message["a"]
    assert (out / "a" / "edited.nrrd").read_text() == "hours of work"
    (out / "a" / "edited.nrrd").unlink()
    (out / "a" / "reviewed").mkdir()
    own.write_bytes(scans.with_name("1.nii.gz").read_bytes())
    assert predict(f"--scans={one}", f"--out={out}") == 1
    assert "reviewed answer" in _table(out).message["a"]


def test_a_folder_of_other_networks_or_of_something_else_is_refused(predict, scans, capsys):
    out = scans.parent / "out"
    one = scans.with_name("one.csv")
    one.write_text("image\n2.nii.gz\n")
    assert predict(f"--scans={one}", f"--out={out}") == 0
    claim = json.loads((out / "batch.json").read_text())
    claim["networks"]["classifier"]["weights"] = "other"
    (out / "batch.json").write_text(json.dumps(claim))
    assert predict(f"--scans={one}", f"--out={out}", "--keep_identity") == 1
    said = capsys.readouterr().err
    assert "another classifier and another --keep_identity" in said
    for content in ("{}", "[]"):
        (out / "batch.json").write_text(content)
        assert predict(f"--scans={one}", f"--out={out}") == 1
        assert "batch.json: does not belong to a batch" in capsys.readouterr().err
    (scans.parent / "full").mkdir()
    (scans.parent / "full" / "thesis.txt").write_text("mine")
    assert predict(f"--scans={one}", f"--out={scans.parent / 'full'}") == 1
    assert "already contains something else" in capsys.readouterr().err


@pytest.mark.parametrize("inside", ["", "1.dcm"])
def test_a_scan_is_known_by_its_contents_whatever_its_size_and_time_say(tmp_path, inside):
    path, copy = tmp_path / "ct", tmp_path / "copy"
    file = path / inside if inside else path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"before")
    os.utime(file, (1, 1))
    request, other = requests.Request(str(path)), requests.Request(str(copy))
    (shutil.copytree if inside else shutil.copy2)(path, copy)
    stamp, contents = request.stamp(), request.contents()
    assert other.contents() == contents
    assert other.stamp() != stamp
    assert dataclasses.replace(request, series="2").contents() != contents
    file.write_bytes(b"behind")
    os.utime(file, (1, 1))
    assert request.stamp() != stamp
    assert request.contents() != contents


def test_a_manifest_of_lesions_is_a_list_of_scans(study):
    found = requests.read_csv(study)
    assert len(found) == 22
    assert found[0].scan_id == found[0].patient_id == "p00"
    assert volume.read_image(found[0].path).array.dtype == np.int16


def test_a_patient_called_as_a_file_of_the_batch_has_a_numbered_folder(tmp_path):
    path = tmp_path / "scans.csv"
    path.write_text("image,patient_id\na.nii,scans.csv\nb.nii,b\n")
    assert [one.scan_id for one in requests.read_csv(path)] == ["scan-001", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scan\na.nii\n", "image: no such column; add it to scan"),
        ("image,scan_id\na.nii,../up\n", "row 2, scan_id: must have at most 64 letters"),
        ("image,scan_id\na.nii,x\nb.nii,X\n", "row 3, scan_id: is that of row 2"),
        ("image,scan_id\na.nii,Lesions.csv\n", "row 2, scan_id: is the name of a file of the"),
        ("image,patient_id\na.nii,1\na.nii,2\n", "row 3, patient_id: differs from row 2"),
        ("image,patient_id\n,1\n", "row 2, image: is empty"),
        ("image\n", "no rows"),
    ],
)
def test_all_that_is_wrong_with_the_csv_is_said(text, words, tmp_path):
    path = tmp_path / "scans.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        requests.read_csv(path)

"""Many scans: a bad one does not stop the rest, a stopped batch goes on, another one is refused."""

import json
import os
import pathlib

import jax
import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.runs.prediction import folder as folder_lib
from dtc_jax.runs.prediction import requests
from dtc_jax.runs.prediction import scan as scan_lib
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
    assert table.message["P2"].startswith("the scan: damaged or truncated")
    assert "Doe" not in (out / "scans.csv").read_text()
    assert table.lesions.fillna(-1).tolist() == [2, -1, 2, 0]
    assert (table.notice == "For research use only").all()
    assert not (out / "P2").exists()
    lesions = pd.read_csv(out / "lesions.csv")
    assert lesions.scan_id.tolist() == ["P1", "P1", "P1-2", "P1-2"]
    alone = pd.read_csv(answered / "lesions.csv")
    pd.testing.assert_frame_equal(lesions[[*alone]].head(2), alone)


def test_a_message_is_whole_where_the_scan_has_the_name_of_a_letter(
    predict, chests, tmp_path, monkeypatch
):
    slices = make_slices(volume.read_image(chests / "0.nii.gz"))
    save_slices(slices[:3] + slices[4:], tmp_path / "s")
    (tmp_path / "scans.csv").write_text("image\ns\n")
    monkeypatch.chdir(tmp_path)  # the paths are then as short as they are written
    assert predict("--scans=scans.csv", "--out=out") == 1
    (message,) = _table(tmp_path / "out").message
    assert message.startswith("the scan: slices are missing: nothing lies in")


def test_a_message_names_no_file_whose_path_begins_as_that_of_the_scan(predict, chests, tmp_path):
    os.symlink(chests / "0.nii.gz", tmp_path / "ct.nii.gz")
    (tmp_path / "ct.nii.gz-Doe.nii").write_bytes(b"no lungs")
    (tmp_path / "scans.csv").write_text("image,lungs\nct.nii.gz,ct.nii.gz-Doe.nii\n")
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={tmp_path / 'out'}") == 1
    (message,) = _table(tmp_path / "out").message
    assert message.startswith("the lungs: ")


def test_a_scan_too_large_for_the_accelerator_does_not_stop_the_rest(predict, scans, monkeypatch):
    segment, seen = scan_lib.segment, []

    def full(*given):
        seen.append(given)
        if len(seen) == 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return segment(*given)

    monkeypatch.setattr(scan_lib, "segment", full)
    out = scans.parent / "out"
    assert predict(f"--scans={scans}", f"--out={out}") == 1
    assert _table(out).status.tolist() == ["failed", "failed", "done", "done"]
    assert "Out of memory" in _table(out).message["P1"]


def test_a_stopped_batch_goes_on_where_it_was(predict, scans, capsys, monkeypatch):
    out = scans.parent / "out"
    write = folder_lib.volume.write

    def stop(path, image, **options):
        if "P1-2" in str(path) and pathlib.Path(path).name == "lesions.nii.gz":
            raise KeyboardInterrupt
        write(path, image, **options)

    with monkeypatch.context() as patch:
        patch.setattr(folder_lib.volume, "write", stop)
        assert predict(f"--scans={scans}", f"--out={out}") == 75
    assert "same command again" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["P1", "batch.json", "scans.csv"]
    before = (out / "P1" / "run.json").read_bytes()
    (scans.parent / "Doe_John.nii.gz").write_bytes((scans.parent / "2.nii.gz").read_bytes())
    assert predict(f"--scans={scans}", f"--out={out}") == 0
    assert (out / "P1" / "run.json").read_bytes() == before
    table = _table(out)
    assert table.status.tolist() == ["done"] * 4
    assert table.message["P1"] == "was done before"
    assert table.message.isna().sum() == 3


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
    assert "holds 1 files or folders beside the answer" in _table(out).message["a"]
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
        assert "batch.json: is not that of a batch" in capsys.readouterr().err
    (scans.parent / "full").mkdir()
    (scans.parent / "full" / "thesis.txt").write_text("mine")
    assert predict(f"--scans={one}", f"--out={scans.parent / 'full'}") == 1
    assert "holds something else" in capsys.readouterr().err


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
        ("image,scan_id\na.nii,../up\n", "row 2, scan_id: must be of at most 64 letters"),
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

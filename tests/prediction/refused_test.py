"""Predictions that are refused, with a message and nothing written."""

import json
import shutil

import pytest

from dtc_jax.imaging import volume
from tests.dicom_files import make_slices, save_slices


def _json(path):
    return json.loads(path.read_text())


def test_an_out_among_the_files_of_a_scan_is_refused(predict, chests, tmp_path, capsys):
    ct = save_slices(make_slices(volume.read_image(chests / "2.nii.gz")), tmp_path / "ct")
    (tmp_path / "alias").symlink_to(ct)
    (tmp_path / "scans.csv").write_text("image\nct\n")
    before = sorted(ct.iterdir())
    for scans in (f"--scan={tmp_path / 'alias'}", f"--scans={tmp_path / 'scans.csv'}"):
        for out in (ct, ct / "out", tmp_path / "alias" / "deep" / "out"):
            assert predict(scans, f"--out={out}") == 2
            assert f"--out={out}: is inside " in capsys.readouterr().err
    assert sorted(ct.iterdir()) == before
    assert predict(f"--scan={ct}", f"--out={tmp_path / 'ct-out'}") == 0
    assert predict(f"--scan={ct}", f"--out={tmp_path / 'ct-out'}") == 0
    assert "nothing was computed again" in capsys.readouterr().out


def test_an_out_below_a_file_is_refused(predict, chests, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "scans.csv").write_text(f"image\n{chests / '2.nii.gz'}\n")
    for scans in (f"--scan={chests / '2.nii.gz'}", f"--scans={tmp_path / 'scans.csv'}"):
        assert predict(scans, f"--out={tmp_path / 'thesis.txt' / 'out'}") == 1
        assert "there is a file in place of a folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_name_that_no_file_system_takes_is_refused(predict, chests, tmp_path, capsys):
    long = "a" * 400
    assert predict(f"--scan={tmp_path / long}.nii", f"--out={tmp_path / 'out'}") == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert predict(f"--scan={chests / '2.nii.gz'}", f"--out={tmp_path / long}") == 1
    assert "the name is too long; choose a shorter one" in capsys.readouterr().err
    (tmp_path / "scans.csv").write_text(f"image\n{long}.nii\n")
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={tmp_path / 'out'}") == 1
    printed = "".join(capsys.readouterr())
    assert "Errno" not in printed
    assert "name too long" in printed or "no such file" in printed


def test_a_run_json_of_something_else_is_no_answer(predict, chests, tmp_path, capsys):
    for content in ('{"made": "elsewhere"}', '{"kind": "prediction"}', "[]"):
        (tmp_path / "run.json").write_text(content)
        assert predict(f"--scan={chests / '0.nii.gz'}", f"--out={tmp_path}") == 1
        assert "its run.json is not that of a predicted scan" in capsys.readouterr().err


def test_networks_that_are_swapped_or_do_not_fit_are_refused(
    call, segmenter, classifier, chests, tmp_path, capsys
):
    arguments = ("--mode=predict", f"--scan={chests / '0.nii.gz'}", f"--out={tmp_path / 'out'}")
    swapped = (f"--segmenter={classifier.workdir}", f"--classifier={segmenter.workdir}")
    assert call(*arguments, *swapped) == 1
    assert "contains the run of a classifier" in capsys.readouterr().err
    shutil.copytree(segmenter.workdir, tmp_path / "other")
    config = _json(tmp_path / "other" / "config.json")
    config["model"]["widths"] = [4, 16]
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    fits = f"--classifier={classifier.workdir}"
    assert call(*arguments, f"--segmenter={tmp_path / 'other'}", fits) == 1
    assert "its checkpoint does not match its config.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs --out"),
        (["--out=o"], "--scan=PATH for one scan, or --scans=CSV"),
        (["--out=o", "--scan=a", "--scans=b"], "--scan=PATH for one scan, or --scans=CSV"),
        (["--out=o", "--scan=a"], "--segmenter=DIR and --classifier=DIR"),
        (["--out=o", "--scan=a", "--segmenter=s", "--classifier=c", "--mask=m"], "--review=CSV"),
        (["--out=o", "--scans=a", "--segmenter=s", "--classifier=c", "--lungs=m"], "columns"),
        (["--out=o", "--scan=a", "--lesions=m"], "--lesions needs --classifier"),
        (["--out=o", "--scan=a", "--lesions=m", "--segmenter=s"], "omit --scans, --segmenter"),
        (["--out=o", "--scan=a", "--threshold=0.3"], "the threshold of --classifier"),
        (["--out=o", "--review=r", "--segmenter=s"], "for one predicted scan"),
        (["--out=o", "--scan=a", "--workdir=w"], "--segmenter and --classifier"),
    ],
)
def test_wrong_use_is_said(call, arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("--mode=predict", *arguments) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

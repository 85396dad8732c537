"""A judged scan is found again as long as nothing that it hangs on has changed, and no longer."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from dtc_jax import storage
from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.crops import fingerprint
from dtc_jax.errors import InputError
from dtc_jax.evaluation import scan_cache

ROWS = [
    "patient_id,lesion_id,image,mask,mask_label,lungs,label",
    "NA,1,a.nii,am.nii,1,al.nii,0",
    "NA,02,a.nii,am.nii,2,al.nii,1",
    "007,b,b.nii,bm.nii,,,",
    "healthy,,c.nii,,,,",
]


@pytest.fixture
def cohort(tmp_path):
    """A manifest of three scans; what its files hold is their name."""
    for name in ("a.nii", "am.nii", "al.nii", "b.nii", "bm.nii", "c.nii"):
        (tmp_path / name).write_text(name)
    (tmp_path / "lesions.csv").write_text("\n".join(ROWS))
    return tmp_path / "lesions.csv"


class Judge:
    """Tables of as many candidates as the scan has lesions; knows whom it has judged."""

    def __init__(self, stop_at=""):
        self.seen, self.stop_at = [], stop_at

    def __call__(self, rows, folder):
        patient = rows.patient_id.iloc[0]
        if patient == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(patient)
        ids = rows.lesion_id.dropna()
        storage.write_text(folder / "note.txt", patient)
        numbers = np.arange(1, len(ids) + 1)
        return {
            "scans": pd.DataFrame({"true_mm3": [float(len(ids))]}),
            "lesions": pd.DataFrame({"lesion_id": ids, "is_found": numbers > 1}),
            "candidates": pd.DataFrame({"lesion_id": numbers, "is_false": numbers > 1}),
        }


def _judge(cohort, judge, home=None, known="networks"):
    table = read_manifest(cohort, healthy=True)
    home = home or cohort.parent / "home"
    hashes = home.parent / "hashes"
    with scan_cache.evaluated(table, home, hashes, lambda rows: known, judge) as folders:
        return folders


def test_what_is_done_of_a_stopped_call_is_not_done_again(cohort, capsys):
    with pytest.raises(KeyboardInterrupt):
        _judge(cohort, Judge(stop_at="007"))
    second = Judge()
    folders = _judge(cohort, second)
    assert second.seen == ["007", "healthy"]
    assert "1 of 3 scans were evaluated before" in capsys.readouterr().out
    assert [(one / "note.txt").read_text() for one in folders] == ["NA", "007", "healthy"]
    third = Judge()
    assert _judge(cohort, third) == folders
    assert third.seen == []


def test_tables_are_put_together_with_ids_as_text(cohort):
    found = scan_cache.gather(_judge(cohort, Judge()))
    lesions = found["lesions"]
    assert lesions.patient_id.tolist() == ["NA", "NA", "007"]
    assert lesions.scan_id.tolist() == ["scan-000", "scan-000", "scan-001"]
    assert lesions.lesion_id.tolist() == ["02", "1", "b"]  # by id, whatever the manifest's order
    assert lesions.is_found.dtype == found["candidates"].is_false.dtype == bool
    assert found["candidates"].lesion_id.tolist() == [1, 2, 1]
    assert found["scans"].true_mm3.tolist() == [2, 1, 0]


def test_scans_without_a_row_in_a_table_leave_its_columns_and_types(cohort):
    cohort.write_text("\n".join([ROWS[0], ROWS[4]]))
    found = scan_cache.gather(_judge(cohort, Judge()))
    assert {kind: len(one) for kind, one in found.items()} == {
        "scans": 1,
        "lesions": 0,
        "candidates": 0,
    }
    assert found["candidates"].is_false.dtype == found["lesions"].is_found.dtype == bool


@pytest.mark.parametrize("name", ["a.nii", "am.nii", "al.nii"])
def test_a_scan_whose_files_have_changed_is_judged_again_and_no_other(cohort, name):
    before = _judge(cohort, Judge())
    path = cohort.parent / name
    status = path.stat()
    path.write_text(name[::-1])  # of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = Judge()
    after = _judge(cohort, again)
    assert again.seen == ["NA"]
    assert after[1:] == before[1:]
    assert not before[0].exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NA,02,", "NA,03,"),  # another lesion
        ("am.nii,2", "am.nii,3"),
        (",al.nii", ","),  # the lungs are to be found
        ("NA,", "N,"),
    ],
)
def test_a_scan_whose_rows_have_changed_is_judged_again_and_no_other(cohort, old, new):
    _judge(cohort, Judge())
    cohort.write_text(cohort.read_text().replace(old, new))
    again = Judge()
    _judge(cohort, again)
    assert again.seen == [new.rstrip(",") if new == "N," else "NA"]


def test_other_networks_judge_all_scans_again_and_leave_nothing_of_the_former(cohort):
    before = _judge(cohort, Judge())
    (before[0].parent / "notes").mkdir()  # not ours
    again = Judge()
    after = _judge(cohort, again, known={"weights": "other"})
    assert len(again.seen) == 3
    names = {path.name for path in after[0].parent.iterdir() if path.is_dir()}
    assert names == {*(one.name for one in after), "notes"}
    back = Judge()
    assert _judge(cohort, back) == before
    assert len(back.seen) == 3


def test_a_former_call_is_kept_until_all_scans_of_the_new_one_are_done(cohort):
    before = _judge(cohort, Judge())
    with pytest.raises(KeyboardInterrupt):
        _judge(cohort, Judge(stop_at="007"), known="others")
    again = Judge()
    assert _judge(cohort, again) == before
    assert again.seen == []


def test_labels_the_order_of_rows_and_the_place_of_files_change_nothing(cohort, tmp_path):
    before = _judge(cohort, Judge())
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in cohort.parent.glob("*.nii"):
        shutil.copy(path, moved)
    rows = [row.removesuffix(",0").removesuffix(",1") for row in ROWS[:0:-1]]
    rows = [row + "," * (6 - row.count(",")) for row in rows]
    (moved / "lesions.csv").write_text("\n".join([ROWS[0], *rows]))
    again = Judge()
    after = _judge(moved / "lesions.csv", again, home=cohort.parent / "home")
    assert again.seen == []
    assert after == before[::-1]


def test_a_bad_scan_leaves_the_others_kept_and_nothing_of_its_own(cohort):
    def judge(rows, folder):
        if rows.patient_id.iloc[0] == "007":
            (folder / "half").touch()
            raise InputError("damaged")
        return Judge()(rows, folder)

    with pytest.raises(InputError, match="damaged"):
        _judge(cohort, judge)
    assert len(list(cohort.parent.glob("home/*/scans.csv"))) == 1
    assert not list(cohort.parent.glob("home/.partial*"))


def test_a_scan_that_is_no_longer_whole_is_judged_again(cohort):
    before = _judge(cohort, Judge())
    (before[1] / "lesions.csv").unlink()
    again = Judge()
    assert _judge(cohort, again) == before
    assert again.seen == ["007"]
    assert (before[1] / "lesions.csv").is_file()


def test_nothing_that_is_kept_says_how_a_file_is_called(cohort, monkeypatch):
    # Their hashes are remembered at once, by their names.
    monkeypatch.setattr(fingerprint, "_SETTLED_SECONDS", -1.0)
    folders = _judge(cohort, Judge())
    assert "a.nii" in (cohort.parent / "hashes").read_text()
    for path in folders[0].parent.rglob("*"):
        assert ".nii" not in path.name
        assert path.is_dir() or ".nii" not in path.read_text()


@pytest.mark.parametrize("name", ["note.txt", "lesions.csv", "contents.json"])
@pytest.mark.parametrize("what", ["gone", "empty"])
def test_a_kept_scan_of_which_a_file_is_not_as_it_was_is_judged_again(cohort, name, what):
    first, *_ = _judge(cohort, Judge())
    if what == "gone":
        (first / name).unlink()
    else:
        (first / name).write_text("")
    again = Judge()
    _judge(cohort, again)
    assert again.seen == ["NA"]
    assert (first / "note.txt").read_text() == "NA"


def test_two_calls_at_once_leave_each_other_their_scans(cohort):
    other = cohort.with_name("other.csv")
    other.write_text("\n".join([ROWS[0], ROWS[3]]).replace("007", "008"))
    home, hashes = cohort.parent / "home", cohort.parent / "hashes"
    table = read_manifest(cohort, healthy=True)
    with scan_cache.evaluated(table, home, hashes, lambda rows: "x", Judge()) as folders:
        theirs = _judge(other, Judge(), home, "x")  # begins and ends meanwhile
        assert all(folder.is_dir() for folder in [*folders, *theirs])
        assert len(scan_cache.gather(folders)["scans"]) == 3
    kept = _judge(other, Judge(), home, "x")
    assert sorted(home.iterdir()) == kept  # nobody needs the others any more


def test_want_of_memory_names_the_scan(cohort):
    def too_large(rows, folder):
        raise MemoryError

    with pytest.raises(
        InputError, match=r"a\.nii: the scan does not fit into memory.*crop the scan"
    ):
        _judge(cohort, too_large)

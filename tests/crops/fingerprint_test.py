import dataclasses
import json
import os
import pathlib
import shutil

import pytest

from dtc_jax.crops import extraction, fingerprint

PARAMS = {"size_mm": [8, 8, 8]}


def _mark(scan, tmp_path, params=PARAMS):
    return fingerprint.of_scans([scan], params, tmp_path / "hashes.json")


def test_contents_ids_and_parameters_count_and_places_do_not(scan, tmp_path):
    mark = _mark(scan, tmp_path)
    assert _mark(scan, tmp_path) == mark
    assert _mark(scan, tmp_path, {"size_mm": [8, 8, 9]}) != mark
    renamed = dataclasses.replace(scan.lesions[0], lesion_id="other")
    assert _mark(dataclasses.replace(scan, lesions=(renamed, scan.lesions[1])), tmp_path) != mark
    relabelled = dataclasses.replace(scan.lesions[0], mask_label=2)
    assert _mark(dataclasses.replace(scan, lesions=(relabelled, scan.lesions[1])), tmp_path) != mark
    moved = shutil.copy(scan.image, tmp_path / "moved.nii.gz")
    assert _mark(dataclasses.replace(scan, image=str(moved)), tmp_path) == mark


def test_a_changed_voxel_counts_even_where_size_and_second_agree(scan, tmp_path):
    mark = _mark(scan, tmp_path)
    data = bytearray(pathlib.Path(scan.image).read_bytes())
    data[-1] ^= 1
    status = os.stat(scan.image)
    pathlib.Path(scan.image).write_bytes(data)
    os.utime(scan.image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _mark(scan, tmp_path) != mark  # the file is young, so its time is not trusted


@pytest.mark.parametrize("inside", ["", "1.dcm"])
def test_a_file_is_read_again_where_its_contents_may_have_changed(tmp_path, monkeypatch, inside):
    """Size and time may be kept by who changes it, also within a folder."""
    monkeypatch.setattr(fingerprint, "_SETTLED_SECONDS", -1.0)  # the times are trusted at once
    path, cache = tmp_path / "scan", tmp_path / "hashes.json"
    file = path / inside if inside else path
    file.parent.mkdir(exist_ok=True)
    if inside:
        (path / "0.dcm").write_bytes(b"the newest, and the largest")
    file.write_bytes(b"before")
    os.utime(file, (1, 1))

    def found():
        (one,) = fingerprint.file_hashes([str(path)], cache).values()
        return one

    first = found()
    known = json.loads(cache.read_text())
    known[str(path)][-1] = "remembered"
    cache.write_text(json.dumps(known))
    assert found() == "remembered"
    file.write_bytes(b"behind")
    os.utime(file, (1, 1))
    assert found() not in ("remembered", first)


def test_a_folder_counts_as_its_files_do(tmp_path):
    folder, cache = tmp_path / "dicom", tmp_path / "hashes.json"
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_bytes(b"first")
    (folder / "inner" / "b").write_bytes(b"second")

    def mark():
        (found,) = fingerprint.file_hashes([str(folder)], cache).values()
        return found

    first = mark()
    (folder / ".hidden").write_bytes(b"left by the system")
    (folder / "inner" / "b").rename(folder / "c")
    assert mark() == first
    (folder / "a").write_bytes(b"other")
    assert mark() not in (first, "")
    (folder / "a").unlink()
    assert mark() not in (first, "")


def test_missing_files_and_a_damaged_cache_stop_nothing(tmp_path):
    path, cache = tmp_path / "scan", tmp_path / "hashes.json"
    path.write_bytes(b"x")
    cache.write_text("{")
    empty = tmp_path / "empty"
    empty.mkdir()
    hashes = fingerprint.file_hashes([str(path), "/nowhere", str(empty)], cache)
    assert hashes["/nowhere"] == hashes[str(empty)] == ""
    assert len(hashes[str(path)]) == 64


def test_lungs_and_scans_without_a_lesion_count_where_there_are_any(scan, tmp_path):
    mark = _mark(scan, tmp_path)
    content = fingerprint.file_hashes([scan.image, scan.lesions[0].mask], tmp_path / "h.json")
    rows = [
        [content[scan.image], content[one.mask], one.mask_label, one.patient_id, one.lesion_id]
        for one in scan.lesions
    ]
    assert mark == fingerprint.of_contents({"params": PARAMS, "lesions": rows})  # as ever
    lungs = tmp_path / "lungs.nii.gz"
    lungs.write_bytes(b"left")
    with_lungs = dataclasses.replace(scan, lungs=str(lungs))
    left = _mark(with_lungs, tmp_path)
    lungs.write_bytes(b"both")
    both = _mark(with_lungs, tmp_path)
    healthy = extraction.Scan(scan.image, (), "", "p9", "p9-healthy0")
    more = fingerprint.of_scans([scan, healthy], PARAMS, tmp_path / "hashes.json")
    other = dataclasses.replace(healthy, patient_id="p8", name="p8-healthy0")
    others = fingerprint.of_scans([scan, other], PARAMS, tmp_path / "hashes.json")
    assert len({mark, left, both, more, others}) == 5

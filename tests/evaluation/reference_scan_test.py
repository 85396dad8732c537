"""The true lesions of a scan, whichever way their masks lie in each other."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.errors import InputError
from dtc_jax.evaluation import reference_scan
from dtc_jax.imaging import instances, lesions, volume
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.segment import Segmentation
from dtc_jax.statistics import detection
from tests import chests, dicom_files


def _read(folder, **lesions):
    """A scan whose lesions are balls, by id: middle and radius in voxels."""
    volume.write(folder / "ct.nii", Volume(chests.empty().astype(np.int16), chests.AFFINE))
    rows = []
    for name, (middle, radius) in lesions.items():
        volume.write(folder / f"{name}.nii", Volume(chests.ball(middle, radius), chests.AFFINE))
        rows.append(("p", name, "ct.nii", f"{name}.nii"))
    columns = ["patient_id", "lesion_id", "image", "mask"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "lesions.csv", index=False)
    return reference_scan.read(read_manifest(folder / "lesions.csv"))


def test_what_is_unusual_about_a_dicom_series_is_said(tmp_path, capsys):
    scan = Volume(chests.empty().astype(np.int16), chests.AFFINE)
    dicom_files.save_slices(dicom_files.make_slices(scan)[::2], tmp_path / "ct")
    columns = {"patient_id": "p", "lesion_id": "", "image": "ct", "mask": ""}
    pd.DataFrame([columns]).to_csv(tmp_path / "lesions.csv", index=False)
    reference_scan.read(read_manifest(tmp_path / "lesions.csv", healthy=True))
    said = capsys.readouterr().err
    assert said.startswith("scan without a lesion of patient p: Its instance numbers go from 1 to")


LARGE, SMALL = ((16, 28, 18), 14.0), ((16, 30, 18), 7.0)


@pytest.mark.parametrize(("large", "small"), [("a", "b"), ("b", "a")])
def test_what_two_lesions_share_counts_to_the_smaller_whatever_their_ids(tmp_path, large, small):
    scan = _read(tmp_path, **dict(sorted({large: LARGE, small: SMALL}.items())))
    numbers = {name: i for i, name in enumerate(scan.lesion_ids, start=1)}
    inner = chests.ball(*SMALL)
    np.testing.assert_array_equal(scan.truth.array == numbers[small], inner)
    np.testing.assert_array_equal(scan.truth.array == numbers[large], chests.ball(*LARGE) & ~inner)
    assert scan.shared_voxels == (chests.ball(*LARGE) & inner).sum() > 0


def test_lesions_apart_share_nothing(tmp_path):
    assert _read(tmp_path, a=SMALL, b=((16, 30, 46), 7.0)).shared_voxels == 0


def test_a_lesion_that_was_drawn_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"every voxel of lesion [ab] belongs to another lesion"):
        _read(tmp_path, a=SMALL, b=SMALL)


def test_a_dicom_scan_says_which_series_it_is(tmp_path):
    hu = Volume(chests.empty().astype(np.int16), chests.AFFINE)
    dicom_files.save_slices(dicom_files.make_slices(hu), tmp_path / "ct")
    volume.write(tmp_path / "mask.nii", Volume(chests.ball(*LARGE), chests.AFFINE))
    row = {"patient_id": "p", "lesion_id": "a", "image": "ct", "mask": "mask.nii"}
    pd.DataFrame([row]).to_csv(tmp_path / "lesions.csv", index=False)
    scan = reference_scan.read(read_manifest(tmp_path / "lesions.csv"))
    assert "32 axial CT slices every 5.00 mm" in scan.series


def test_a_box_is_found_by_a_finding_in_it_and_what_is_ignored_counts_neither_way(tmp_path):
    balls = [((16, 28, 18), 8.0), ((16, 28, 46), 8.0), ((24, 28, 18), 7.0)]  # box, ignored, false
    volume.write(tmp_path / "ct.nii", Volume(chests.empty().astype(np.int16), chests.AFFINE))
    ignored = chests.ball(*balls[1])
    volume.write(tmp_path / "ignore.nii", Volume(ignored, chests.AFFINE))
    whole = Volume(ignored, chests.AFFINE)
    box = lesions.bounding_box(chests.ball(*balls[0]))
    corners = [whole.world([getattr(s, end) for s in box]) for end in ("start", "stop")]
    ends = np.sort(np.stack(corners, axis=1), axis=1)  # [3, 2]
    row = {"patient_id": "p", "lesion_id": "a", "image": "ct.nii", "mask": "", "view": "scan"}
    row |= {"box_mm": " ".join(f"{end:.2f}" for end in ends.ravel()), "ignore": "ignore.nii"}
    pd.DataFrame([row]).to_csv(tmp_path / "lesions.csv", index=False)
    scan = reference_scan.read(read_manifest(tmp_path / "lesions.csv", healthy=True))
    volume.write(tmp_path / "ignore.nii", Volume(ignored & False, chests.AFFINE))
    empty = reference_scan.read(read_manifest(tmp_path / "lesions.csv", healthy=True))
    assert not empty.ignored.array.any()
    numbers = sum((i * chests.ball(*one) for i, one in enumerate(balls, start=1)))
    image = scan.image
    probability = Volume((numbers > 0).astype(np.float32), image.affine)
    mask, table = instances.find(image, probability, Instances())
    tables = reference_scan.compare(Segmentation(table, mask, whole), scan)
    lesion = tables["lesions"].iloc[0]
    assert (lesion.lesion_id, lesion.is_found) == ("a", True)
    assert np.isnan(lesion.dice)
    sides_mm = (ends[:, 1].round(2) - ends[:, 0].round(2))[:2]
    assert lesion.diameter_mm == pytest.approx(sides_mm.max())  # as given, not in whole voxels
    assert sorted(tables["candidates"].is_false) == [False, True]
    figures = detection.detection(
        **{name: part.assign(patient_id="p", scan_id="s") for name, part in tables.items()}
    )
    assert figures["sensitivity"]["value"] == 1
    assert figures["lesion_dice"]["n"] == figures["dice"]["n"] == figures["empty_scans"] == 0
    assert figures["false_positives_per_scan"]["value"] == 1

"""Lesions that are outlined already: masks of one or many numbers, and points with a radius."""

import numpy as np
import pytest

from dtc_jax.csv_reader import TableError
from dtc_jax.errors import InputError
from dtc_jax.imaging import instances, volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import outlined

SHAPE = (20, 30, 40)
AFFINE = np.zeros((4, 4))  # 2 × 1 × 1 mm
AFFINE[[2, 1, 0, 3], [0, 1, 2, 3]] = (2.0, 1.0, 1.0, 1.0)
AFFINE[:3, 3] = (-25.0, -10.0, 100.0)
IMAGE = Volume(np.full(SHAPE, -800, np.int16), AFFINE)
HEAD = "x_mm,y_mm,z_mm,radius_mm"


def _mask(tmp_path, **boxes):
    array = np.zeros(SHAPE, np.uint8)
    for name, (box, number) in boxes.items():
        del name
        array[box] = number
    volume.write(tmp_path / "mask.nii.gz", Volume(array, AFFINE))
    return tmp_path / "mask.nii.gz"


def _csv(tmp_path, *rows, head=HEAD):
    path = tmp_path / "points.csv"
    path.write_text("\n".join([head, *rows]))
    return path


def test_the_numbers_of_a_mask_are_those_of_the_lesions(tmp_path):
    path = _mask(tmp_path, a=(np.s_[2:4, 5:9, 5:9], 3), b=(np.s_[8:9, 3:4, 3:4], 7))
    found = outlined.read(path, IMAGE)
    assert instances.measure(IMAGE, found.mask).lesion_id.tolist() == [3, 7]
    assert "2 numbered lesions" in found.statement


def test_a_mask_of_one_number_is_divided_and_the_page_says_so(tmp_path):
    path = _mask(tmp_path, a=(np.s_[8:9, 3:4, 3:4], 1), b=(np.s_[2:4, 5:9, 5:9], 1))
    found = outlined.read(path, IMAGE)
    table = instances.measure(IMAGE, found.mask)
    assert table.lesion_id.tolist() == [1, 2]
    assert table.volume_mm3.tolist() == [64.0, 2.0]  # the largest first
    assert "each of its 2 connected pieces" in found.statement


def test_a_point_with_a_radius_is_a_ball_about_its_place(tmp_path):
    center_mm = IMAGE.world([9, 14, 20])
    row = ",".join(f"{value:.3f}" for value in center_mm)
    found = outlined.read(_csv(tmp_path, f"{row},6"), IMAGE)
    (ball,) = instances.measure(IMAGE, found.mask).to_dict("records")
    assert ball["volume_mm3"] == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.06)
    for value, axis in zip(center_mm, "xyz", strict=True):
        assert ball[f"center_{axis}_mm"] == pytest.approx(value)
    assert ball["diameter_mm"] == pytest.approx(12, abs=1.5)
    assert found.statement == "given as 1 point with a radius"
    assert "each stands for a ball" in found.warning


def test_small_balls_keep_their_voxels_and_rows_their_numbers(tmp_path):
    place = [",".join(map(str, IMAGE.world(voxel))) for voxel in ([9, 14, 20], [9, 14, 22])]
    rows = [f"{place[0]},0.1,5", f"{place[1]},8,2"]
    found = outlined.read(_csv(tmp_path, *rows, head=f"{HEAD},lesion_id"), IMAGE)
    assert (found.mask.array == 5).sum() == 1  # at least the voxel in its middle
    assert found.mask.array[9, 14, 20] == 5
    assert (found.mask.array == 2).sum() > 100


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["0,0,120"], "row 2: has 3 cells"),
        (["0,0,120,0"], "row 2, radius_mm: '0' is not a radius"),
        (["0,0,120,6000"], "row 2, radius_mm: '6000' is not a radius"),
        (["0,0,120,3", "0,a,120,3"], "row 3, y_mm: 'a' is not a number"),
        (["0,0,120,3", '0,"1,5",120,3'], "row 3, y_mm: '1,5' is not .* decimals with a point"),
        (["0,0,120,3", "0,1_0,120,3"], "row 3, y_mm: '1_0' is not a number"),
        (["0,0,120,3", "0,0,120,٣"], "row 3, radius_mm: '٣' is not a number"),
        (["0,0,120,3", "900,0,120,3"], "row 3, x_mm: the point is outside the scan"),
        (["0,0,120,3", "0,1e30,120,3"], "row 3, x_mm: the point is outside the scan"),
        (["0,0,120,3", "0,0,120,3"], "other lesions cover this ball"),
    ],
)
def test_what_is_wrong_with_points_is_said_by_row(tmp_path, rows, words):
    with pytest.raises(TableError, match=words):
        outlined.read(_csv(tmp_path, *rows), IMAGE)


def test_one_number_in_two_spellings_is_refused(tmp_path):
    path = _csv(tmp_path, "0,0,120,3,1", "9,0,120,3,01", head=f"{HEAD},lesion_id")
    with pytest.raises(TableError, match="row 3, lesion_id: another row has this number"):
        outlined.read(path, IMAGE)
    with pytest.raises(TableError, match="'١' is not a whole number"):
        outlined.read(_csv(tmp_path, "0,0,120,3,١", head=f"{HEAD},lesion_id"), IMAGE)


def test_a_table_without_a_radius_is_refused(tmp_path):
    with pytest.raises(TableError, match="radius_mm: no such column"):
        outlined.read(_csv(tmp_path, "0,0,120", head="x_mm,y_mm,z_mm"), IMAGE)


def test_an_empty_mask_and_one_of_another_scan_are_refused(tmp_path):
    with pytest.raises(InputError, match="the mask is empty"):
        outlined.read(_mask(tmp_path), IMAGE)
    other = Volume(np.zeros((3, 3, 3), np.int16), AFFINE)
    with pytest.raises(InputError, match="on the grid of the scan"):
        outlined.read(_mask(tmp_path), other)

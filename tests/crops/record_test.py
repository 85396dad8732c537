import numpy as np
import pytest

from dtc_jax.crops import extraction, record
from dtc_jax.errors import UsageError
from dtc_jax.imaging import volume

PARAMS = record.CropParams(size_mm=(12, 14, 16))


def test_the_record_of_a_lesion_is_its_surroundings_at_1_mm(scan):
    one, _ = extraction.cut_scan(scan, PARAMS)
    assert one["image"].dtype == np.int16
    assert one["mask"].dtype == np.uint8
    # Index (size - 1) / 2 is the middle of the mask's box, (6.5, 12.5, 15.5) in voxels of the scan.
    z, y, x = np.indices(PARAMS.size_mm)
    expected = -900 + 20 * (6.5 + (z - 5.5) / 2) + 3 * (12.5 + y - 6.5) + (15.5 + x - 7.5)
    assert np.abs(one["image"] - expected).max() <= 0.5
    assert one["mask"].sum() == 8 * 6 * 8  # 1 mm a voxel
    assert one["extent"].tolist() == [[0, 12], [0, 14], [0, 16]]
    assert one["diameter_mm"] == pytest.approx(np.hypot(6, 8))
    assert one["volume_mm3"] == pytest.approx(8 * 6 * 8)
    assert one["center_mm"].tolist() == [15.5, 12.5, 13.0]


def test_beyond_the_scan_lies_its_edge_or_a_given_value(scan):
    edge = extraction.cut_scan(scan, record.CropParams((24, 14, 14)))[1]
    fixed = extraction.cut_scan(scan, record.CropParams((24, 14, 14), fill=-1000))[1]
    (first, stop), *_ = edge["extent"]
    assert (first, stop) == (0, 18)  # the middle lies 6 mm below the last slice
    assert (edge["image"][stop:] == edge["image"][stop - 1]).all()
    assert (fixed["image"][stop + 2 :] == -1000).all()
    inner = slice(first, stop - 1)
    np.testing.assert_array_equal(edge["image"][inner], fixed["image"][inner])


def test_hu_beyond_int16_are_clipped_not_wrapped(scan, tmp_path):
    ct = volume.read_image(scan.image)
    hu = ct.array.astype(np.float32)
    hu[6:8, 11:14, 14:17] = 1e6
    first = scan.lesions[0]
    mask = volume.read_mask(first.mask, ct, first.mask_label)
    one = record.example(volume.Volume(hu, ct.affine), mask, first, PARAMS)
    assert one["image"].max() == 2**15 - 1
    assert one["image"].min() > -1000


def test_a_lesion_between_the_voxels_of_the_grid_keeps_its_middle(scan, tmp_path):
    ct = volume.read_image(scan.image)
    labels = np.zeros(ct.shape, np.uint8)
    labels[6, 20, 20] = 1
    fine = ct.affine.copy()
    fine[:3, :3] /= 4  # a voxel of 0.5 × 0.25 × 0.25 mm
    path = tmp_path / "speck.nii.gz"
    volume.write(path, volume.Volume(labels, fine))
    image = volume.Volume(ct.array, fine)
    speck = record.Lesion("p", "speck", str(path))
    one = record.example(image, volume.read_mask(path, image), speck, PARAMS)
    assert one["mask"].sum() == 1
    assert one["mask"][5, 6, 7] == 1


def test_a_cube_of_its_own_is_kept_as_it_is():
    image = np.zeros((6, 8, 10), np.uint8)
    image[1:5, 2:6, 3:6] = 255
    one = record.of_cube(image, "train-0001", "train-0001")
    np.testing.assert_array_equal(one["image"], image)
    np.testing.assert_array_equal(one["mask"], image == 255)
    assert one["extent"].tolist() == [[0, 6], [0, 8], [0, 10]]
    assert one["diameter_mm"] == pytest.approx(5.0)
    assert one["box_mm"].tolist() == [4, 4, 3]


def test_columns_name_the_axes(scan):
    one, _ = extraction.cut_scan(scan, PARAMS)
    row = record.columns(one)
    assert (row["lesion_id"], row["patient_id"]) == ("p1-a", "p1")
    assert [row[f"box_mm_{axis}"] for axis in "zyx"] == [8, 6, 8]
    assert [row[f"scan_box_mm_{axis}"] for axis in "zyx"] == [32, 40, 40]
    assert [row[f"center_mm_{axis}"] for axis in "xyz"] == [15.5, 12.5, 13.0]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"size_mm": (48, 72)}, "size_mm"),
        ({"size_mm": (48, 72, 0)}, "size_mm"),
        ({"size_mm": (48, 72, 7.5)}, "size_mm"),
        ({"size_mm": "big"}, "size_mm"),
        ({"fill": "nearest"}, "fill"),
        ({"fill": 1e9}, "fill"),
    ],
)
def test_wrong_parameters_are_refused_by_name(fields, named):
    with pytest.raises(UsageError, match=named):
        record.CropParams(**fields)


def test_sizes_are_whole_numbers_however_they_are_written():
    assert record.CropParams([48.0, 72, 72]) == record.CropParams((48, 72, 72))

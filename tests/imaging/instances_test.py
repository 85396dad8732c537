"""Lesions found in a probability: which pieces count, and what the table says of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import transform

from dtc_jax import storage
from dtc_jax.errors import UsageError
from dtc_jax.imaging import instances, lesions
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.volume import Volume

SPACING_MM = (2.5, 0.7, 0.9)
AFFINE = np.eye(4)
AFFINE[:3, :3] = (
    transform.Rotation.from_euler("xyz", (20, -15, 25), degrees=True).as_matrix()[:, ::-1]
    * SPACING_MM
)
AFFINE[:3, 3] = (-31.0, 87.5, 12.25)
SHAPE = (16, 40, 36)
SMALL, LARGE = np.s_[2:4, 5:9, 5:8], np.s_[8:12, 10:30, 12:28]


@pytest.fixture
def scan() -> Volume:
    return Volume(np.random.default_rng(0).integers(-900, 100, SHAPE, dtype=np.int16), AFFINE)


def _probability(*boxes) -> Volume:
    array = np.random.default_rng(1).uniform(0, 0.4, SHAPE).astype(np.float32)
    for i, box in enumerate(boxes):
        array[box] = np.random.default_rng(i).uniform(0.5, 1, array[box].shape)
    return Volume(array, AFFINE)


def test_lesions_are_numbered_by_size_and_measured(scan):
    probability = _probability(SMALL, LARGE)
    mask, table = instances.find(scan, probability, Instances())
    assert mask.array.dtype == np.uint16
    np.testing.assert_array_equal(mask.affine, AFFINE)
    assert list(table.columns) == list(instances.COLUMNS)
    assert table.lesion_id.tolist() == [1, 2]
    for row, box in zip(table.itertuples(), (LARGE, SMALL), strict=True):
        lesion = np.zeros(SHAPE, bool)
        lesion[box] = True
        np.testing.assert_array_equal(mask.array == row.lesion_id, lesion)
        sides = [(row.box_z_start, row.box_z_stop), (row.box_y_start, row.box_y_stop)]
        sides += [(row.box_x_start, row.box_x_stop)]
        assert sides == [(side.start, side.stop) for side in box]
        center = [(side.start + side.stop - 1) / 2 for side in box]
        found_mm = [row.center_x_mm, row.center_y_mm, row.center_z_mm]
        np.testing.assert_allclose(found_mm, scan.world(center))
        assert row.volume_mm3 == pytest.approx(lesion.sum() * np.prod(SPACING_MM))
        measured = lesions.measure(scan, Volume(lesion, AFFINE))
        assert row.diameter_mm == pytest.approx(measured.diameter_mm)
        assert row.mean_hu == pytest.approx(scan.array[lesion].mean())
        assert row.mean_probability == pytest.approx(probability.array[lesion].mean())
        assert row.max_probability == pytest.approx(probability.array[lesion].max())


def test_a_scan_without_a_lesion_has_a_table_with_columns_and_no_row(scan, tmp_path):
    mask, table = instances.find(scan, _probability(), Instances())
    assert not mask.array.any()
    assert len(table) == 0
    assert list(table.columns) == list(instances.COLUMNS)
    _, full = instances.find(scan, _probability(LARGE), Instances())
    assert table.dtypes.tolist() == full.dtypes.tolist()
    storage.write_table(tmp_path / "lesions.csv", table)
    assert list(pd.read_csv(tmp_path / "lesions.csv").columns) == list(instances.COLUMNS)


@pytest.mark.parametrize(("connectivity", "count"), [(6, 3), (18, 2), (26, 1)])
def test_neighbours_decide_what_is_one_lesion(scan, connectivity, count):
    # The second touches the first by an edge, the third touches the second by a corner.
    chain = [np.s_[2:4, 4:8, 4:8], np.s_[2:4, 8:12, 8:12], np.s_[4:6, 12:16, 12:16]]
    _, table = instances.find(scan, _probability(*chain), Instances(connectivity=connectivity))
    assert len(table) == count


def test_the_smallest_lesion_and_the_threshold_can_be_set(scan):
    probability = _probability(SMALL, LARGE)
    small_mm3 = 24 * np.prod(SPACING_MM)
    for least_mm3, count in ((small_mm3 * 0.999, 2), (small_mm3 * 1.001, 1), (1e6, 0)):
        _, table = instances.find(scan, probability, Instances(min_volume_mm3=least_mm3))
        assert len(table) == count
    mask, _ = instances.find(scan, probability, Instances(threshold=0.75, min_volume_mm3=0))
    np.testing.assert_array_equal(mask.array > 0, probability.array >= 0.75)


@pytest.mark.parametrize(("share", "kept"), [(0.0, False), (0.2, False), (0.3, True), (1.0, True)])
def test_a_lesion_of_the_lungs_is_kept_whole_and_one_outside_not_at_all(scan, share, kept):
    field = np.zeros(SHAPE, bool)
    field[:, : 10 + round(20 * share)] = True  # LARGE lies at y 10 to 30
    mask, table = instances.find(
        scan, _probability(SMALL, LARGE), Instances(), Volume(field, AFFINE)
    )
    assert len(table) == 1 + kept
    assert (mask.array[LARGE] == 1).all() if kept else not mask.array[LARGE].any()


@pytest.mark.parametrize("fields", [{"connectivity": 8}, {"threshold": 0.0}, {"threshold": 1.5}])
def test_impossible_settings_are_refused(fields):
    with pytest.raises(UsageError):
        Instances(**fields)


def test_lesions_that_somebody_drew_are_measured_alike_but_for_a_probability(scan):
    probability = _probability(SMALL, LARGE)
    mask, table = instances.find(scan, probability, Instances())
    renumbered = Volume(np.array([0, 7, 3], np.uint16)[mask.array], AFFINE)
    drawn = instances.measure(scan, renumbered)
    assert drawn.lesion_id.tolist() == [3, 7]
    assert drawn[["mean_probability", "max_probability"]].isna().all(axis=None)
    measures = [name for name in instances.COLUMNS if "probability" not in name][1:]
    pd.testing.assert_frame_equal(
        drawn[measures], table[measures].iloc[[1, 0]].reset_index(drop=True)
    )
    assert drawn.dtypes[measures].equals(table.dtypes[measures])

"""Side and slice of a lesion."""

import numpy as np
import pandas as pd

from dtc_jax.imaging import instances
from dtc_jax.imaging.numbering import Slices
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import answer, places

AFFINE = np.diag([5.0, 4.0, 4.0, 1.0])[[2, 1, 0, 3]]  # (z, y, x) to RAS
NUMBERS = Slices(0, tuple(range(108, 100, -1)), "InstanceNumber")


def _masks() -> tuple[Volume, Volume]:
    """Lungs at the ends of x, and lesions: in the left one, in the right, beside it, far away."""
    field = np.zeros((8, 12, 40), bool)
    field[:, 2:10, 2:12] = field[:, 2:10, 28:38] = True
    mask = np.zeros(field.shape, np.uint16)
    mask[2:5, 4, 4:6], mask[6, 4, 30] = 3, 5
    mask[0:2, 5, 26:28] = 7  # between the lungs, beside the right one
    mask[0, 5, 20] = 9
    return Volume(field, AFFINE), Volume(mask, AFFINE)


def test_side_and_slice_of_each_lesion():
    field, mask = _masks()
    table = instances.measure(Volume(mask.array.astype(np.int16), AFFINE), mask)
    found = places.add(table, mask, places.sides(field), NUMBERS)
    assert found.side.tolist() == ["left", "right", "right", ""]
    assert (found.center_x_mm[found.side == "left"] < 20 * 4).all()  # x grows to the right
    nowhere = places.sides(field)
    nowhere.array[nowhere.array > 0] = 3  # lungs whose sides are not known
    assert (places.add(table, mask, nowhere, NUMBERS).side == "").all()
    assert found.slice.tolist() == [105, 102, 108, 108]
    unknown = places.add(table, mask, None, Slices(0, (), "none"))
    assert (unknown.side == "").all()
    assert unknown["slice"].isna().all()


def test_a_table_of_an_earlier_version_is_completed_with_empty_cells(tmp_path):
    _, mask = _masks()
    table = instances.measure(Volume(mask.array.astype(np.int16), AFFINE), mask)
    table = table.drop(columns=["long_axis_mm", "short_axis_mm"])
    full = answer.complete(table)
    assert list(full.columns) == list(answer.COLUMNS)
    assert (full.side == "").all()
    assert full[["slice", "is_lesion", "lesion_probability", "short_axis_mm"]].isna().all(axis=None)
    full["is_lesion"] = pd.array([True, None, False, None], "boolean")
    full.to_csv(tmp_path / "lesions.csv", index=False)
    again = answer.complete(pd.read_csv(tmp_path / "lesions.csv"))
    pd.testing.assert_frame_equal(again[["is_lesion", "slice"]], full[["is_lesion", "slice"]])

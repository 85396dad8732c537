"""The true lesions of a scan, whichever way their masks lie in each other."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.errors import InputError
from dtc_jax.evaluation import reference_scan
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from tests import chests


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
    with pytest.raises(InputError, match=r"all voxels of lesion [ab] are in other lesions"):
        _read(tmp_path, a=SMALL, b=SMALL)

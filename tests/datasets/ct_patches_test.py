"""The builder of patches: record i is row i, and only what records depend on rebuilds them."""

import numpy as np
import pandas as pd
import pytest

from datasets import build
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction, patches
from dtc_jax.errors import UsageError
from dtc_jax.training.batches import Records


@pytest.fixture
def fields(cohort):
    return {"manifest": str(cohort), "size_mm": (8, 10, 12), "lesion_share": 1.0}


def test_record_i_is_row_i_and_is_what_patches_cut(fields, tmp_path):
    folder = build.build("ct_patches", fields, tmp_path / "data")
    table = pd.read_csv(folder / "lesions.csv")
    params = patches.PatchParams(size_mm=(8, 10, 12), lesion_share=1.0)
    scans = extraction.scans(manifest.read_manifest(fields["manifest"]))
    expected = [one for part in patches.parts(scans, params) for one in patches.cut(part, params)]
    stored = Records(folder)
    assert table.lesion_id.tolist() == [one["lesion_id"] for one in expected]
    for i, one in enumerate(expected):
        for name in ("image", "mask", "extent"):
            np.testing.assert_array_equal(stored[i][name], one[name])
        assert table.volume_mm3[i] == one["mask"].sum()
        assert table.diameter_mm[i] == pytest.approx(float(one["diameter_mm"]))


def test_parameters_rebuild_and_labels_do_not(cohort, fields, tmp_path):
    folder = build.build("ct_patches", fields, tmp_path / "data")
    table = pd.read_csv(cohort)
    table.assign(age=99, label=0)[::-1].to_csv(cohort, index=False)
    assert build.build("ct_patches", fields, tmp_path / "data") == folder
    others = [{"size_mm": (8, 10, 10)}, {"seed": 1}, {"about": "cubes"}]
    built = [build.build("ct_patches", fields | other, tmp_path / "data") for other in others]
    assert len({folder, *built}) == 4


def test_cubes_may_call_their_id_patch_id(cohort, fields, tmp_path):
    table = pd.read_csv(cohort).drop_duplicates("image")
    table.rename(columns={"lesion_id": "patch_id"}).to_csv(cohort, index=False)
    folder = build.build("ct_patches", fields | {"about": "cubes"}, tmp_path / "data")
    assert sorted(pd.read_csv(folder / "lesions.csv").lesion_id) == sorted(table.lesion_id)


def test_wrong_use_is_said(tmp_path, fields):
    with pytest.raises(UsageError, match="Did you mean 'lesion_share'"):
        build.build("ct_patches", fields | {"lesion_shares": 1}, tmp_path)
    with pytest.raises(UsageError, match="not both"):
        build.build("ct_patches", {}, tmp_path)

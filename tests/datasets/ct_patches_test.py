"""The builder of patches: record i is row i, and only what records depend on rebuilds them."""

import numpy as np
import pandas as pd
import pytest

from datasets import build
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction, patches
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import volume
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
    others = [
        *({"size_mm": (8, 10, 10)}, {"seed": 1}, {"about": "cubes"}),
        *({"spacing_mm": 2.0}, {"antialias": "none"}),
    ]
    built = [build.build("ct_patches", fields | other, tmp_path / "data") for other in others]
    assert len({folder, *built}) == 6


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


def test_lungs_and_scans_without_a_lesion_rebuild_patches_and_no_crops(cohort, fields, tmp_path):
    """With lesion_share 1 nothing is drawn from the lungs, so that neither matters."""
    crops = {"manifest": fields["manifest"], "size_mm": (8, 10, 12)}
    drawn = fields | {"lesion_share": 0.5}
    with pytest.raises(InputError, match="no lungs found"):  # random HU are no chest
        build.build("ct_patches", drawn, tmp_path / "data")
    kept = [build.build("ct_patches", fields, tmp_path / "data")]
    kept.append(build.build("lesion_crops", crops, tmp_path / "data"))
    lungs = np.zeros((12, 14, 16), np.uint8)
    lungs[:, :, 2:] = 1
    volume.write(cohort.parent / "lungs.nii.gz", volume.Volume(lungs, np.eye(4)))
    table = pd.read_csv(cohort, dtype=str).assign(lungs="lungs.nii.gz")
    table.loc[len(table)] = {"patient_id": "p5", "image": "p5.nii.gz", "lungs": "lungs.nii.gz"}
    hu = np.random.default_rng(5).integers(-1000, 400, lungs.shape).astype(np.int16)
    volume.write(cohort.parent / "p5.nii.gz", volume.Volume(hu, np.eye(4)))
    table.to_csv(cohort, index=False)
    assert build.build("ct_patches", fields, tmp_path / "data") == kept[0]
    assert build.build("lesion_crops", crops, tmp_path / "data") == kept[1]
    first = build.build("ct_patches", drawn, tmp_path / "data")
    stored = pd.read_csv(first / "lesions.csv")
    assert stored.lesion_id[stored.patient_id == "p5"].str.startswith("p5-healthy0-").all()
    assert (stored.volume_mm3[stored.patient_id == "p5"] == 0).all()
    assert stored.patient_id.tolist().count("p5") == 1
    lungs[:, :, :9] = 0
    volume.write(cohort.parent / "lungs.nii.gz", volume.Volume(lungs, np.eye(4)))
    second = build.build("ct_patches", drawn, tmp_path / "data")
    assert second != first
    others = pd.read_csv(second / "lesions.csv")
    others = others[others.diameter_mm.isna()]
    assert (others.center_mm_z >= 9).all()  # the last axis of these arrays

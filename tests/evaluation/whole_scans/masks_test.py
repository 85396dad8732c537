"""Masks of the lungs that are given, and scans and masks that cannot be used."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.evaluation import whole_scans
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from tests import chests
from tests.chests import AFFINE, SHAPE


def _split(**patients) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": list(patients), "split": list(patients.values())})


def test_a_scan_without_lungs_is_named(network, manifest, tmp_path):
    head = np.where(chests.ball((16, 25, 32), 70.0), 40, -1000).astype(np.int16)
    volume.write(tmp_path / "head.nii", Volume(head, AFFINE))
    volume.write(tmp_path / "mask.nii", Volume(chests.ball((14, 28, 18), 12.0), AFFINE))
    (tmp_path / "lesions.csv").write_text(
        "patient_id,lesion_id,image,mask\nq,q-1,head.nii,mask.nii\n"
    )
    with pytest.raises(InputError, match=r"head\.nii: no lungs found"):
        whole_scans.evaluate(network, [_split(x="train")], tmp_path / "lesions.csv", tmp_path / "o")
    assert not (tmp_path / "o" / "scans").exists()


@pytest.mark.extras
def test_lungs_that_are_given_are_where_lesions_are_looked_for(network, manifest, tmp_path):
    folder = manifest.parent
    left = np.zeros(SHAPE, np.uint8)
    left[:, :, :32] = 1
    volume.write(folder / "left.nii", Volume(left, AFFINE))
    table = pd.read_csv(manifest, dtype=str)
    table["lungs"] = table.patient_id.map({"p0": "left.nii"})
    table.to_csv(folder / "with-lungs.csv", index=False)
    shares = {}
    for name in ("lesions.csv", "with-lungs.csv"):
        whole_scans.evaluate(network, [_split(p2="train")], folder / name, tmp_path)
        for patient, i in (("p0", 0), ("p1", 1)):
            found = volume.read_image(tmp_path / "scans" / "masks" / f"scan-00{i}.nii.gz").array
            shares[name, patient] = [left[found == n].mean() for n in range(1, found.max() + 1)]
    scans = pd.read_csv(tmp_path / "scans" / "scans.csv")
    assert scans.lungs.tolist() == ["given", "found"]
    assert min(shares["lesions.csv", "p0"]) == 0  # on the right
    assert min(shares["with-lungs.csv", "p0"]) >= 0.25  # see `Instances.min_inside`
    assert shares["with-lungs.csv", "p1"] == shares["lesions.csv", "p1"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (
            np.ones((3, 4, 5), np.uint8),
            r"scan of lesion p1-1: .*bad\.nii: the mask has \(3, 4, 5\) voxels",
        ),
        (
            np.zeros(SHAPE, np.uint8),
            r"scan of lesion p1-1: .*bad\.nii: the mask is empty; segment the lungs",
        ),
    ],
)
def test_lungs_that_cannot_be_used_are_said_with_their_lesion(
    network, manifest, tmp_path, array, words
):
    volume.write(manifest.parent / "bad.nii", Volume(array, AFFINE))
    table = pd.read_csv(manifest, dtype=str)
    table["lungs"] = table.patient_id.map({"p1": "bad.nii"})
    table.to_csv(manifest.parent / "bad-lungs.csv", index=False)
    with pytest.raises(InputError, match=words):
        whole_scans.evaluate(
            network, [_split(x="train")], manifest.parent / "bad-lungs.csv", tmp_path
        )
    assert not (tmp_path / "scans").exists()


def test_a_mask_that_lacks_a_lesion_is_said_with_its_scan(network, manifest, tmp_path):
    table = pd.read_csv(manifest, dtype=str)
    table.loc[table.lesion_id == "p1-2", "mask_label"] = "7"
    table.to_csv(manifest.parent / "no-seven.csv", index=False)
    with pytest.raises(
        InputError, match=r"scan of lesion p1-1: .*1-mask\.nii: .* no voxel of label 7"
    ):
        whole_scans.evaluate(
            network, [_split(x="train")], manifest.parent / "no-seven.csv", tmp_path
        )
    assert len(list(tmp_path.glob("judged/*/scans.csv"))) == 1  # p0 is not judged again

"""A manifest of four small scans with five lesions, in no particular order."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.imaging import volume

# patient, lesion, number in the instance mask
LESIONS = [("p3", "c1", 1), ("p1", "b2", 2), ("p2", "a1", 1), ("p1", "b1", 1), ("p4", "d1", 1)]


@pytest.fixture
def cohort(tmp_path):
    """Path of the manifest."""
    rng = np.random.default_rng(0)
    for patient in ("p1", "p2", "p3", "p4"):
        labels = np.zeros((12, 14, 16), np.uint8)
        labels[3:6, 4:8, 4:9] = 1
        labels[8:10, 9:12, 10:14] = 2
        hu = rng.integers(-1000, 400, labels.shape).astype(np.int16)
        volume.write(tmp_path / f"{patient}.nii.gz", volume.Volume(hu, np.eye(4)))
        volume.write(tmp_path / f"{patient}-mask.nii.gz", volume.Volume(labels, np.eye(4)))
    table = pd.DataFrame(LESIONS, columns=["patient_id", "lesion_id", "mask_label"])
    table["image"] = table.patient_id + ".nii.gz"
    table["mask"] = table.patient_id + "-mask.nii.gz"
    table["label"] = [0, 1, 0, 1, 1]
    table["age"] = 40
    path = tmp_path / "lesions.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture
def config(cohort):
    """Of lesion_crops."""
    return {"manifest": str(cohort), "size_mm": (8, 10, 12)}

"""One scan whose HU tell where a voxel lies, with two numbered lesions."""

import numpy as np
import pytest

from dtc_jax.crops import extraction, record
from dtc_jax.imaging import volume

SPACING_MM = (2.0, 1.0, 1.0)


@pytest.fixture
def scan(tmp_path) -> extraction.Scan:
    z, y, x = np.indices((16, 40, 40))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [2, 0, 0]])  # (z, y, x) to RAS x, y, z
    labels = np.zeros(z.shape, np.uint8)
    labels[5:9, 10:16, 12:20] = 1  # box 8 × 6 × 8 mm, middle (6.5, 12.5, 15.5)
    labels[12:14, 30:32, 30:34] = 2
    hu = (-900 + 20 * z + 3 * y + x).astype(np.int16)
    volume.write(tmp_path / "ct.nii.gz", volume.Volume(hu, affine))
    volume.write(tmp_path / "mask.nii.gz", volume.Volume(labels, affine))
    mask = str(tmp_path / "mask.nii.gz")
    lesions = (record.Lesion("p1", "p1-a", mask, 1), record.Lesion("p1", "p1-b", mask, 2))
    return extraction.Scan(str(tmp_path / "ct.nii.gz"), lesions)

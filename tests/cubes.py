"""A small cohort of cubes cut out about bright balls, for runs of a segmenter."""

import pathlib

import numpy as np
import pandas as pd

from dtc_jax.imaging import volume

SIDE = 16
PATIENTS = 12
AFFINE = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # (z, y, x) to RAS


def write(folder: pathlib.Path) -> pathlib.Path:
    """A CSV of cubes, one or two a patient, each with a bright ball near its middle."""
    rng = np.random.default_rng(0)
    grid = np.indices((SIDE,) * 3)
    rows = []
    for i in range(PATIENTS + 3):
        center = (SIDE - 1) / 2 + rng.integers(-1, 2, 3)
        apart = np.sqrt(((grid - center.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        mask = apart <= 2 + 3 * i / PATIENTS
        hu = np.where(mask, 0, -850) + rng.normal(0, 30, mask.shape)
        rows.append((f"p{i % PATIENTS:02d}", f"c{i:02d}", f"{i}.nii", f"{i}-mask.nii"))
        volume.write(folder / rows[-1][2], volume.Volume(np.rint(hu).astype(np.int16), AFFINE))
        volume.write(folder / rows[-1][3], volume.Volume(mask, AFFINE))
    table = pd.DataFrame(rows, columns=["patient_id", "patch_id", "image", "mask"])
    table.to_csv(folder / "cubes.csv", index=False)
    return folder / "cubes.csv"

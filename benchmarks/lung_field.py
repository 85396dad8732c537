"""The lung field on the real chests: its volume, air outside the body in it, and known lesions.

    DTC_JAX_DATA=FOLDER python -m benchmarks.lung_field

Air outside the body is what is below -500 HU, reaches the side of its slice and is, by the median,
less dense than lung. Nodules have the readers' masks. The mass and the tumour of `boxes.csv` have a
box only: their mask is the soft tissue in it, more than 3 mm from bone, opened by a ball (2 or
12 mm) that parts it from wall and mediastinum; of that, the largest piece. Seconds are those of the
process. A few minutes.
"""

import os
import pathlib
import time

import edt
import numpy as np
import pandas as pd
from scipy import ndimage

from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.lungs import lung_field
from dtc_jax.imaging.volume import Volume

SCANS = (
    "chest_ct/ACRIN-NSCLC-042_half",
    "chest_ct/LIDC-IDRI-0063",
    "chest_ct/Lung_Dx-A0001",
    "chest_ct/NLST-101287",
    "lidc_ct/LIDC-IDRI-0001",
)
_BALL_MM = {"Lung_Dx-A0001": 12.0, "NLST-101287": 2.0}


def outside(image: Volume) -> np.ndarray:
    """Air around the body, on the scan's own grid. # [Z, Y, X] bool"""
    found = np.zeros(image.shape, bool)
    for plane, hu in zip(found, image.array, strict=True):
        pieces, n = ndimage.label(hu < -500)
        rim = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
        medians = ndimage.median(hu, pieces, np.arange(n + 1))
        plane[:] = np.isin(pieces, [k for k in rim if k and medians[k] < -950])
    return found


def boxed(image: Volume, rows: pd.DataFrame, ball_mm: float) -> np.ndarray:
    """A mass, drawn within its boxes; see above. # [Z, Y, X] bool"""
    box = np.zeros(image.shape, bool)  # the files run the other way in x and y
    for row in rows.itertuples():
        box[row.slice, int(row.y0) : int(row.y1) + 1, int(row.x0) : int(row.x1) + 1] = True
    box = box[:, ::-1, ::-1]
    around = lesions.padded(lesions.bounding_box(box), (2, 20, 20), image.shape)
    spacing = tuple(image.spacing_mm)
    hu = ndimage.gaussian_filter(image.array[around].astype(np.float32), 0.7 / image.spacing_mm)
    bones = lesions.components(ndimage.binary_opening(hu > 170))
    sizes = np.bincount(bones.ravel())
    sizes[0] = 0
    bone = (sizes > 30)[bones]  # and no specks of calcium
    soft = (hu > -200) & box[around] & (edt.edt(~bone, spacing) >= 3)
    pieces = lesions.components(edt.edt(soft, spacing) > ball_mm, 6)
    core = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    mass = np.zeros(image.shape, bool)
    mass[around] = soft & (edt.edt(~core, spacing) <= ball_mm + 0.5)
    return mass


def main() -> None:
    """Prints a row for each scan."""
    if "DTC_JAX_DATA" not in os.environ:
        print("skipped: DTC_JAX_DATA does not name the folder of the real data")
        return
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"])
    boxes = pd.read_csv(folder / "chest_ct" / "boxes.csv")
    for scan in SCANS:
        image = volume.read_image(folder / f"{scan}_ct.nii.gz")
        start = time.process_time()
        field = lung_field(image).array
        seconds = time.process_time() - start
        name = pathlib.Path(scan).name
        known = np.zeros(image.shape, np.uint32)
        if (folder / f"{scan}_nodules.nii.gz").is_file():
            nodules = volume.read_mask(folder / f"{scan}_nodules.nii.gz", image).array
            known = lesions.components(nodules)
        elif name in _BALL_MM:
            known = boxed(image, boxes[boxes.scan == name], _BALL_MM[name]).astype(np.uint32)
        shares = [
            round(float(field[box][known[box] == k].mean()), 3)
            for k, box in lesions.numbered(known)
        ]
        ml = float(np.prod(image.spacing_mm)) / 1000
        air_ml = (field & outside(image)).sum() * ml
        print(
            f"{name:<22} field {field.sum() * ml:5.0f} mL, outside the body {air_ml:5.1f} mL, "
            f"lesions of {(known > 0).sum() * ml:.1f} mL inside {shares}, {seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

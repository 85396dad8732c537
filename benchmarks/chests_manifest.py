"""Writes the manifest of `configs/vnet.py:chests`: nodule cubes of LIDC-IDRI and four whole scans.

    python benchmarks/chests_manifest.py DATA FOLDER

DATA is the folder that DTC_JAX_DATA names. The scans are copied into FOLDER, beside chests.csv (to
train and to cross-validate on) and scans.csv (the whole scans alone, to evaluate on). A tumour that
is known by boxes, slice by slice, gets the box around all of them.
"""

import itertools
import pathlib
import shutil
import sys

import nibabel
import numpy as np
import pandas as pd

_SAME = {"LIDC-IDRI-0001": "LIDC-feup-0", "LIDC-IDRI-0063": "LIDC-feup-62"}
COLUMNS = [
    *("patient_id", "same_patient", "lesion_id", "image", "mask", "mask_label", "box_mm"),
    *("ignore", "view"),
]


def main(data: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies the scans, and writes both tables."""
    cubes = pd.read_csv(data / "lidc_patches" / "patches.csv", dtype=str)
    rows = []
    for cube in cubes.itertuples():
        image, mask = (
            _copy(data / "lidc_patches" / x, folder / x) for x in (cube.image, cube.mask)
        )
        rows.append([cube.patient_id, "", cube.patch_id, image, mask, "", "", "", "cube"])
    scans = copy_scans(data, folder)
    table = pd.concat([scans, pd.DataFrame(rows, columns=COLUMNS)])
    table.to_csv(folder / "chests.csv", index=False)
    scans.to_csv(folder / "scans.csv", index=False)


def copy_scans(data: pathlib.Path, folder: pathlib.Path) -> pd.DataFrame:
    """Copies the whole scans into `folder`; a row for each lesion in them, with `COLUMNS`."""
    return pd.DataFrame([*_outlined(data, folder), *_boxed(data, folder)], columns=COLUMNS)


def _copy(source: pathlib.Path, target: pathlib.Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return "/".join(target.parts[-2:])


def _outlined(data: pathlib.Path, folder: pathlib.Path) -> list[list[str]]:
    """The two scans whose nodules are outlined, a row a nodule."""
    rows = []
    for place, patient in (("lidc_ct", "LIDC-IDRI-0001"), ("chest_ct", "LIDC-IDRI-0063")):
        home, copies = data / place, folder / "chests"
        names = {kind: f"{patient}_{kind}.nii.gz" for kind in ("ct", "nodules", "readers")}
        cells = {
            kind: _copy(home / name, copies / name) if (home / name).is_file() else ""
            for kind, name in names.items()
        }
        mask = np.asarray(nibabel.load(home / names["nodules"]).dataobj).astype(int)
        for number in np.unique(mask[mask > 0]):
            ids = [patient, _SAME[patient], f"{patient}-n{number}"]
            known = [cells["ct"], cells["nodules"], str(number), "", cells["readers"], "scan"]
            rows.append(ids + known)
    return rows


def _boxed(data: pathlib.Path, folder: pathlib.Path) -> list[list[str]]:
    """The scans whose mass is known by boxes, a row each; the other scan may have a tumour too."""
    rows = []
    for patient, own in pd.read_csv(data / "chest_ct" / "boxes.csv").groupby("scan"):
        path = data / "chest_ct" / f"{patient}_ct.nii.gz"
        ends = [
            (own.x0.min(), own.x1.max()),
            (own.y0.min(), own.y1.max()),
            (own["slice"].min() - 0.5, own["slice"].max() + 0.5),
        ]
        corners = np.array([[*corner, 1] for corner in itertools.product(*ends)])
        world = corners @ nibabel.load(path).affine[:3].T  # [8, 3]
        box = np.stack([world.min(axis=0), world.max(axis=0)], axis=1)  # [3, 2]
        cell = " ".join(f"{end:.1f}" for end in box.ravel())
        image = _copy(path, folder / "chests" / path.name)
        rows.append([patient, "", f"{patient}-n1", image, "", "", cell, "", "scan"])
    return rows


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))

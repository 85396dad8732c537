"""Writes the manifest of `configs/vnet.py:nodules`: simulated chests, and nodules of LIDC-IDRI.

    python -m benchmarks.nodules_manifest DATA FOLDER [--patients=40]

DATA is the folder that DTC_JAX_DATA names. A phantom cohort is generated in FOLDER, the nodules are
copied there, and nodules.csv has a row for each lesion of both. The persons of LIDC-IDRI who have
cubes of whole tissue (`lidc_patches`) or whole scans in DATA are left out, so that the segmenter
can be judged on those. LIDC-feup-N of the cubes is LIDC-IDRI-(N + 1): where the image of a nodule
of LIDC-IDRI-N to -(N + 2) was found in the cube, it was of this person in 34 of 35 cases (the 35th
is a small one, found by chance), and the two persons with whole scans are among them.
"""

import argparse
import pathlib
import shutil

import pandas as pd

from dtc_jax.cohort import phantom

_NODULES = "lidc_nodules"
_CUBES = "lidc_patches"
_COLUMNS = ["patient_id", "lesion_id", "image", "mask", "mask_label", "view"]


def main(data: pathlib.Path, folder: pathlib.Path, patients: int) -> None:
    """Generates the chests, copies the nodules, and writes their table."""
    chests = phantom.generate_in(folder, phantom.PhantomSpec(patients, external_patients=0))
    scans = pd.read_csv(chests, dtype=str, keep_default_na=False).assign(view="scan")
    for column in ("image", "mask"):
        scans[column] = f"{chests.parent.relative_to(folder)}/" + scans[column]
    cubes = read_nodules(data).assign(view="cube", mask_label="")
    cubes = cubes[~cubes.patient_id.isin(_with_tissue(data))]
    copy_nodules(cubes, data, folder)
    table = pd.concat([scans, cubes], ignore_index=True)[_COLUMNS]
    table.to_csv(folder / "nodules.csv", index=False)
    print(f"{folder}: {len(scans)} lesions of {scans.patient_id.nunique()} simulated patients,")
    print(f"{len(cubes)} nodules of {cubes.patient_id.nunique()} patients")


def read_nodules(data: pathlib.Path) -> pd.DataFrame:
    """A row for each nodule of LIDC-IDRI in `data`; all columns are text."""
    return pd.read_csv(data / _NODULES / "lesions.csv", dtype=str, keep_default_na=False)


def _with_tissue(data: pathlib.Path) -> set[str]:
    """Ids in LIDC-IDRI of those who have cubes; those with whole scans are among them."""
    cubes = pd.read_csv(data / _CUBES / "patches.csv", dtype=str)
    numbers = cubes.patient_id.str.removeprefix("LIDC-feup-").astype(int)
    return {f"LIDC-IDRI-{number + 1:04}" for number in numbers}


def copy_nodules(nodules: pd.DataFrame, data: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies the images and masks of `nodules` into `folder`, under the names in the table."""
    for name in [*nodules.image, *nodules["mask"]]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / _NODULES / name, folder / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--patients", type=int, default=40)
    arguments = parser.parse_args()
    main(arguments.data, arguments.folder, arguments.patients)

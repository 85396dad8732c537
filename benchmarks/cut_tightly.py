"""Does a segmenter use where an image ends? Cubes of tissue, and the same cut about the nodule.

    python -m benchmarks.cut_tightly DATA SEGMENTER [SEGMENTER …] [--without=ID,ID]

DATA is the folder that DTC_JAX_DATA names, a SEGMENTER a run or a bundle whose window is one cube
of `lidc_patches` (51 mm). Each cube is predicted from as it is, and with all but its middle 29 mm,
and but a millimetre above and below the mask, replaced by the outermost voxels: as an image that
was cut tightly about its nodule reaches a network. In a whole scan nothing is cut, so only the
first figure says what to expect there; the second is better where the network has learned that the
nodule is where the image ends. Intervals are clustered by patient. --without leaves out cubes of
persons whom a SEGMENTER was trained on; see nodules_manifest for who they are in LIDC-IDRI.
"""

import argparse
import pathlib
import sys

import numpy as np
import pandas as pd

from dtc_jax import progress
from dtc_jax.imaging import volume
from dtc_jax.inference.segment import Segmenter
from dtc_jax.prediction import predictors
from dtc_jax.statistics.estimate import mean
from dtc_jax.statistics.formatting import estimate

_FOLDER = "lidc_patches"
_SIDE = 29  # voxels of 1 mm in the plane that are left
_RIM = 1  # and above and below the mask
_BINS = (0.0, 6.0, 8.0, 10.0, 14.0, np.inf)  # mm, diameter of a ball of the mask's volume


def main(data: pathlib.Path, paths: list[str], without: list[str]) -> None:
    """Prints the figures of each segmenter."""
    listed = data / _FOLDER / "patches.csv"
    if not listed.is_file():
        sys.exit(f"{listed}: no such file; give the folder that DTC_JAX_DATA names.")
    table = pd.read_csv(listed, dtype=str)
    table = table[~table.patient_id.isin(without)]
    cubes = [_read(data / _FOLDER, row) for row in table.itertuples()]
    patients = table.patient_id.to_numpy(str)
    for path in paths:
        segmenter, _ = predictors.load_segmenter(path)
        window, cube = segmenter.spec.shape, cubes[0][0].shape
        if window != cube:
            sys.exit(f"{path}: its window has {window} voxels; it must be that of a cube, {cube}.")
        rows = [_figures(segmenter, *one) for one in progress.track(cubes, "cubes")]
        _print(path, pd.DataFrame(rows), patients)


def _read(folder: pathlib.Path, row) -> tuple[np.ndarray, np.ndarray]:
    """HU and mask of a cube, [z, y, x]."""
    image = volume.read_image(folder / row.image)
    return image.array, volume.read_mask(folder / row.mask, image).array


def cut_tightly(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The cube as if it were stored tightly about its mask, and its outermost voxels went on."""
    occupied = np.flatnonzero(mask.any(axis=(1, 2)))
    low = [max(occupied[0] - _RIM, 0), *((n - _SIDE) // 2 for n in hu.shape[1:])]
    high = [min(occupied[-1] + _RIM + 1, hu.shape[0]), *(i + _SIDE for i in low[1:])]
    left = hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    beyond = [(a, n - b) for a, b, n in zip(low, high, hu.shape, strict=True)]
    return np.pad(left, beyond, mode="edge")


def _figures(segmenter: Segmenter, hu: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    both = np.stack([hu, cut_tightly(hu, mask)]).astype(np.int16)
    found = np.asarray(segmenter.predict(both)) > segmenter.instances.threshold
    overlap = (found & mask).sum(axis=(1, 2, 3))
    dice = 2 * overlap / (found.sum(axis=(1, 2, 3)) + mask.sum())
    return {
        "diameter_mm": 2 * (3 * mask.sum() / (4 * np.pi)) ** (1 / 3),
        "as it is": dice[0],
        "cut tightly": dice[1],
        "as it is, missed": overlap[0] == 0,
        "cut tightly, missed": overlap[1] == 0,
    }


def _print(path: str, table: pd.DataFrame, patients: np.ndarray) -> None:
    print(f"{path}: {len(table)} cubes of {len(set(patients))} patients; mean Dice, median, missed")
    for name in ("as it is", "cut tightly"):
        figure = estimate(mean(table[name].to_numpy(), patients).as_dict())
        print(f"  {name:<12}{figure}, {table[name].median():.3f}, {table[f'{name}, missed'].sum()}")
    gain = mean((table["cut tightly"] - table["as it is"]).to_numpy(), patients).as_dict()
    print(f"  {'difference':<12}{estimate(gain, sign='+')}")
    for size, rows in table.groupby(pd.cut(table.diameter_mm, _BINS, right=False), observed=True):
        dice, missed = rows["as it is"].mean(), rows["as it is, missed"].sum()
        print(f"  as it is, {size} mm: n {len(rows)}, {dice:.3f}, {missed}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("segmenters", nargs="+")
    parser.add_argument("--without", default="", type=lambda text: text.split(","))
    arguments = parser.parse_args()
    main(arguments.data, arguments.segmenters, arguments.without)

"""How far do two sources of masks agree on the same nodule? No segmenter can be asked for more.

    DTC_JAX_DATA=FOLDER python benchmarks/two_readers.py

The cubes of `lidc_patches` (one annotator) and the nodules of `lidc_nodules` (several readers) come
from the same public scans, under other names. A nodule is looked for in every cube by normalized
cross-correlation of the image alone; where it lies in one, and both masks mark something there, to
the nearest millimetre, they are compared. Nothing is trained here. About ten minutes of one core.

To be quick, pairs whose volumes differ by more than 5 : 3 are not looked at, which leaves out the
pairs that agree least: it biases the mean upwards by about .01 (a coarse search without it found
2 such pairs beside 26, with Dice of .71 and .68).
"""

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import fft, ndimage

from dtc_jax import progress
from dtc_jax.cohort import manifest
from dtc_jax.imaging import volume
from dtc_jax.imaging.resample import resample, resample_mask
from dtc_jax.statistics import dice

_SPACING_MM = 1.0  # of the cubes
_RANGE_HU = (-1000.0, 400.0)
_REACH = 10  # voxels of the template on each side of the nodule's middle
_RATIO = 5 / 3  # of the masks' volumes, at the most
_SAME = 0.95  # correlation from which on two images show the same nodule
_FLAT_HU = 10.0  # least standard deviation; what is flatter correlates with anything
_DIAMETERS_MM = (0.0, 12.0, 20.0, np.inf)


class Cube:
    """A cube with what the search of any template in it needs."""

    def __init__(self, row: pd.Series):
        image = volume.read_image(row.image)
        self.mask = volume.read_mask(row["mask"], image).array
        self.patient_id, self.voxels = row.patient_id, int(self.mask.sum())
        self.shape = image.shape
        self.size = [n + 2 * _REACH for n in image.shape]
        hu = np.clip(image.array.astype(np.float32), *_RANGE_HU)
        self.spectra = [fft.rfftn(part, self.size) for part in (hu, hu * hu)]

    def find(self, template: np.ndarray) -> tuple[float, tuple[int, ...]]:
        """The highest correlation with `template`, and where its first voxel lies."""
        centred, n = template - template.mean(), template.size
        ones = np.conj(fft.rfftn(np.ones_like(template), self.size))
        product = self._at(self.spectra[0] * np.conj(fft.rfftn(centred, self.size)), template)
        total, squares = (self._at(one * ones, template) for one in self.spectra)
        spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, _FLAT_HU**2))
        correlation = product / n / spread / max(centred.std(), _FLAT_HU)
        place = np.unravel_index(correlation.argmax(), correlation.shape)
        return float(correlation[place]), tuple(int(i) for i in place)

    def _at(self, spectrum: np.ndarray, template: np.ndarray) -> np.ndarray:
        """Only where the template lies within the cube."""
        sides = zip(self.shape, template.shape, strict=True)
        return fft.irfftn(spectrum, self.size)[tuple(slice(n - m + 1) for n, m in sides)]


def pairs(cubes: list[Cube], nodules: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Every nodule in the cubes that it might lie in: correlation, and Dice of the two masks."""
    for _, row in progress.track(list(nodules.iterrows()), "nodules"):
        image = volume.read_image(row.image)
        mask = resample_mask(volume.read_mask(row["mask"], image), _SPACING_MM).array > 0
        if not mask.any():
            continue
        hu = np.clip(resample(image, _SPACING_MM).array, *_RANGE_HU)
        middle = np.round(ndimage.center_of_mass(mask)).astype(int)
        box = tuple(slice(max(0, i - _REACH), i + _REACH + 1) for i in middle)
        for cube in cubes:
            if 1 / _RATIO < mask.sum() / cube.voxels < _RATIO:
                correlation, place = cube.find(hu[box])
                shift = np.array(place) - [side.start for side in box]
                points = np.argwhere(mask) + shift
                points = points[((points >= 0) & (points < cube.shape)).all(axis=1)]
                overlap = int(cube.mask[tuple(points.T)].sum())
                yield {
                    "patient_id": cube.patient_id,
                    "lesion_id": row.lesion_id,
                    "diameter_mm": 2 * (3 * cube.voxels / (4 * np.pi)) ** (1 / 3),
                    "correlation": correlation,
                    "overlap": overlap,
                    "true_voxels": cube.voxels,
                    "found_voxels": len(points),
                    "dice": 2 * overlap / (len(points) + cube.voxels),
                }


def main() -> None:
    """Prints the agreement of all pairs, and by the nodule's diameter (of the ball of its size)."""
    if "DTC_JAX_DATA" not in os.environ:
        print("skipped: DTC_JAX_DATA does not name the folder of the real data")
        return
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"])
    patches = manifest.read_manifest(folder / "lidc_patches" / "patches.csv", "patch_id")
    cubes = [Cube(row) for _, row in patches.iterrows()]
    nodules = manifest.read_manifest(folder / "lidc_nodules" / "lesions.csv")
    table = pd.DataFrame(pairs(cubes, nodules)).sort_values("correlation")
    same = table.drop_duplicates("patient_id", keep="last")
    same = same[(same.correlation >= _SAME) & (same.overlap > 0)]
    groups = pd.cut(same.diameter_mm, _DIAMETERS_MM)
    for name, rows in [("all", same), *same.groupby(groups, observed=True)]:
        found = dice.metrics(rows.assign(cohort="cubes", split="test"))["cubes"]["test"]
        one = found["dice"]
        print(
            f"{name!s:<14} n {one['n']:<3} Dice {one['value']:.3f} [{one['low']:.3f}, "
            f"{one['high']:.3f}], median {found['median_dice']:.3f}"
        )


if __name__ == "__main__":
    main()

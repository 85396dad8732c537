"""The segmenter on a scan: from HU on any grid to numbered lesions on the same grid."""

import dataclasses

import numpy as np
import pandas as pd

from dtc_jax.errors import InputError
from dtc_jax.imaging import instances
from dtc_jax.imaging.grid import to_grid
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.lungs import lung_field
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.resample import onto
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.sliding_window import HostSums, Predict, SlidingWindow, Sums, sliding_window


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A trained network, and how it is used on a scan.

    Attributes:
      predict: windows in HU [B, d, h, w] -> probability of lesion [B, d, h, w].
      spec: the grid that the network sees, the same as in training.
      windows: how the scan is cut into windows.
      instances: how probability becomes lesions.
      sums: where the windows are added up.
    """

    predict: Predict
    spec: Preprocess
    windows: SlidingWindow
    instances: Instances
    sums: type[Sums] = HostSums


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """What was found in a scan.

    Attributes:
      lesions: a row a lesion, columns of `imaging.instances.COLUMNS`; none where nothing was found.
      mask: the lesions' numbers, on the scan's grid.
      lungs: where lesions were looked for, bool on the scan's grid.
    """

    lesions: pd.DataFrame
    mask: Volume
    lungs: Volume


def segment(segmenter: Segmenter, image: Volume, lungs: Volume | None = None) -> Segmentation:
    """Finds the lesions in the lungs of a scan; one without any is a result, not an error.

    Args:
      segmenter: of a run, see `networks.segmenter`, or of a bundle, see `serving.segmenter`.
      image: chest CT in HU, of any spacing.
      lungs: bool on the grid of `image`; None to find them.

    Raises:
      InputError: no lungs were found, or those given are empty or on another grid.
    """
    if lungs is None:
        lungs = lung_field(image)
    elif lungs.shape != image.shape or not lungs.array.any():
        raise InputError(
            f"the mask of the lungs has {lungs.shape} voxels, {np.count_nonzero(lungs.array)} of "
            f"them set, its scan {image.shape}; draw the lungs on the scan's own grid."
        )
    seen = to_grid(image, segmenter.spec)
    field = onto(lungs, seen)
    probability = sliding_window(
        segmenter.predict, seen.array, segmenter.windows, field.array, segmenter.sums
    )
    on_scan = onto(Volume(probability, seen.affine), image)
    mask, table = instances.find(image, on_scan, segmenter.instances, lungs)
    return Segmentation(table, mask, lungs)

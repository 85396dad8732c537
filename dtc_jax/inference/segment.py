"""The segmenter on a scan: from HU on any grid to numbered lesions on the same grid."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import instances
from dtc_jax.imaging.grid import to_grid
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.lungs import lung_field
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.resample import onto
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.sliding_window import Predict, SlidingWindow, sliding_window
from dtc_jax.tasks import segmentation
from dtc_jax.tasks.trained import TrainedNetwork, Variables


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A trained network, and how it is used on a scan.

    Attributes:
      predict: windows in HU [B, d, h, w] -> probability of lesion [B, d, h, w]; jitted.
      spec: the grid that the network sees, the same as in training.
      windows: how the scan is cut into windows.
      instances: how probability becomes lesions.
    """

    predict: Predict
    spec: Preprocess
    windows: SlidingWindow
    instances: Instances


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


def make_segmenter(network: TrainedNetwork) -> Segmenter:
    """The segmenter of a run: windows of `config.predict.crop_mm`, mirrored where it says so.

    Args:
      network: of one or several members, see configs/vnet.py.

    Raises:
      UsageError: the members see different windows or grids.
    """
    specs = [segmentation.make_predict_preprocess(member.config) for member in network.members]
    grids = {(spec.scan_grid, spec.shape) for spec in specs}
    if len(grids) > 1:
        raise UsageError(
            "the run chose segmenters with different grids or windows in its folds, which "
            "cannot be used together; train one without folds."
        )

    @jax.jit
    def probability(variables: Variables, hu: jax.Array) -> jax.Array:
        logits = network.logit(variables, hu, jnp.zeros(hu.shape, jnp.uint8))  # [B, d, h, w]
        return jax.nn.sigmoid(logits.astype(jnp.float32))

    predict = functools.partial(probability, jax.device_put(network.variables))
    return Segmenter(predict, specs[0], *whole_scan(network.config))


def whole_scan(config: ml_collections.ConfigDict) -> tuple[SlidingWindow, Instances]:
    """How `config.predict` has a scan cut into windows, and probability made lesions.

    Runs from before `predict` had these fields have the defaults.

    Raises:
      UsageError: a field has no possible value.
    """
    overlap = config.predict.get("overlap", SlidingWindow.overlap)
    shape = segmentation.make_predict_preprocess(config).shape
    return (
        SlidingWindow(shape, overlap, config.predict.batch_size),
        segmentation.make_instances(config),
    )


def segment(segmenter: Segmenter, image: Volume, lungs: Volume | None = None) -> Segmentation:
    """Finds the lesions in the lungs of a scan; one without any is a result, not an error.

    Args:
      segmenter: see `make_segmenter`.
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
    probability = sliding_window(segmenter.predict, seen.array, segmenter.windows, field.array)
    on_scan = onto(Volume(probability, seen.affine), image)
    mask, table = instances.find(image, on_scan, segmenter.instances, lungs)
    return Segmentation(table, mask, lungs)

"""The segmenter of a run: from windows in HU to the probability of each voxel."""

import functools

import jax
import jax.numpy as jnp
import ml_collections

from dtc_jax.errors import UsageError
from dtc_jax.imaging.instances import Instances
from dtc_jax.inference.segment import Segmenter
from dtc_jax.inference.sliding_window import SlidingWindow
from dtc_jax.networks.stitching import DeviceSums
from dtc_jax.tasks import segmentation
from dtc_jax.tasks.trained import TrainedNetwork, Variables


def make_segmenter(network: TrainedNetwork) -> Segmenter:
    """The segmenter of a run: windows of `config.predict.crop_mm`, mirrored where it says so.

    Args:
      network: of one or several members, see configs/vnet.py.

    Raises:
      UsageError: the members see different windows or grids.
    """
    specs = [segmentation.make_predict_preprocess(one.config) for one in network.networks]
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
    return Segmenter(predict, specs[0], *whole_scan(network.config), DeviceSums)


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

"""The segmenter of a bundle, as `inference.segment` takes it."""

import numpy as np

from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.inference.segment import Segmenter
from dtc_jax.inference.sliding_window import SlidingWindow
from dtc_jax.serving.bundle import Bundle


def make_segmenter(bundle: Bundle) -> Segmenter:
    """The segmenter of a bundle whose task is segmentation."""
    before = bundle.described["before_the_model"]
    depth, height, width = before["window_voxels"]
    spacing_mm = float(before["spacing_mm"])
    spec = Preprocess(
        crop_mm=(depth * spacing_mm, height * spacing_mm, width * spacing_mm),
        spacing_mm=spacing_mm,
        grid="scan",
        antialias=before["antialias"],
    )
    windows = SlidingWindow(
        (depth, height, width), before["overlap"], bundle.described["batch"], before["sigma"]
    )
    instances = Instances(
        bundle.threshold,
        before["connectivity"],
        before["least_volume_mm3"],
        before["least_share_inside_the_lungs"],
        before.get("lesion_threshold", Instances.lesion_threshold),  # older bundles have none
    )

    def predict(hu: np.ndarray) -> np.ndarray:
        return bundle.model({"image": hu.astype(np.int16)})["probability"]

    return Segmenter(predict, spec, windows, instances)

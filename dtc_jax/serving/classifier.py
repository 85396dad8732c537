"""The classifier of a bundle, as `inference.classify` takes it."""

import numpy as np

from dtc_jax.crops import record
from dtc_jax.inference.classify import Classifier, refuse_cubes
from dtc_jax.serving.bundle import Bundle


def make_classifier(bundle: Bundle) -> Classifier:
    """The classifier of a bundle whose task is to classify lesions or candidates.

    Raises:
      InputError: it was not trained on CT.
    """
    described = bundle.described
    refuse_cubes(bundle.path, described["data_source"])

    def answer(
        image: np.ndarray, mask: np.ndarray, heat: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        wanted = ["probability", "heat"] if heat else ["probability"]
        found = bundle.model({"image": image, "mask": mask}, wanted)
        return found["probability"].astype(float), found.get("heat")

    depth, height, width = described["before_the_model"]["size_voxels"]
    crop = record.CropParams((depth, height, width))
    return Classifier(answer, crop, described["batch"], bundle.threshold, bundle.fingerprints)

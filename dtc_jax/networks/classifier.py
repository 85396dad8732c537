"""The classifier of a run: from crops in HU to probabilities and heat maps."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from dtc_jax.crops import record
from dtc_jax.imaging.preprocess import preprocess
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import heat as heat_lib
from dtc_jax.inference.classify import Classifier
from dtc_jax.networks import saliency
from dtc_jax.tasks import classification
from dtc_jax.tasks.trained import Member, TrainedNetwork
from dtc_jax.training.task import PyTree

HeatMaps = Callable[[np.ndarray, np.ndarray], np.ndarray]


def make_classifier(network: TrainedNetwork) -> Classifier:
    """The classifier of a run.

    Args:
      network: with its threshold. The configurations of its members may differ where a run chose
        among candidates, except in `data.size_mm`.
    """
    if network.threshold is None:
        raise ValueError("a classifier needs a threshold.")
    heat_maps = make_heat_maps(network)

    def answer(
        image: np.ndarray, mask: np.ndarray, heat: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        logits = np.asarray(network.on_device(jnp.asarray(image), jnp.asarray(mask)), float)
        return special.expit(logits), heat_maps(image, mask) if heat else None

    return Classifier(
        answer,
        record.CropParams(tuple(network.config.data.size_mm)),
        network.config.predict.batch_size,
        network.threshold,
        network.fingerprints,
    )


def make_heat_maps(network: TrainedNetwork) -> HeatMaps:
    """Grad-CAM of a classifier's networks, see `saliency`: the mean of their maps.

    Returns:
      (image, mask) -> [B, d, h, w] on the grid of the crops, in units of the logit. The arguments
      are those of `inference.classify.Answer`.
    """
    of_networks = [_heat_maps(one) for one in network.networks]

    def heat_maps(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.asarray(np.mean([of(image, mask) for of in of_networks], axis=0))

    return heat_maps


def _heat_maps(member: Member) -> HeatMaps:
    """Where one of the networks looks: (image, mask) -> [B, d, h, w] on the grid of the crops."""
    spec = classification.make_preprocess(member.config)
    senet = classification.make_network(member.config)

    @jax.jit
    def heat(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        x = preprocess(image, mask, spec, jnp)  # [B, D, H, W, C]
        return saliency.heat_maps(senet, params, batch_stats, x)  # [B, D, H, W]

    of_crops = functools.partial(heat, *jax.device_put((member.params, member.batch_stats)))

    def on_crops(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        crop = Volume(np.zeros(image.shape[1:], np.int8), np.eye(4))  # at 1 mm, wherever it is
        middle_mm = crop.world((np.array(crop.shape) - 1) / 2)
        maps = np.asarray(of_crops(jnp.asarray(image), jnp.asarray(mask)))
        laid = [heat_lib.on_scan(one, middle_mm, spec.spacing_mm, crop).array for one in maps]
        return np.stack(laid)

    return on_crops

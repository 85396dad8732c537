"""The classifier on a scan whose lesions are numbered: from HU to a probability for each lesion."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from dtc_jax import progress
from dtc_jax.crops import record
from dtc_jax.imaging import lesions
from dtc_jax.imaging.preprocess import preprocess
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import saliency
from dtc_jax.tasks import classification
from dtc_jax.tasks.trained import Member, TrainedNetwork
from dtc_jax.training.task import PyTree

Arrays = tuple[jax.Array, jax.Array]  # image in HU, mask: [B, d, h, w] at 1 mm


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """Where one of the networks looks.

    Attributes:
      of: (image, mask) [B, d, h, w] -> Grad-CAM on the network's own grid [B, D, H, W]; jitted.
      spacing_mm: of that grid.
    """

    of: Callable[..., jax.Array]
    spacing_mm: float


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained network, and how it is used on a lesion.

    Attributes:
      network: gives the probability.
      heat_maps: one a member of the network; what is shown is their mean.
      crop: how a lesion is cut out, as it was for training.
      batch: lesions that the network sees at once.
      threshold: a probability at or above it is the decision 'refractory'.
    """

    network: TrainedNetwork
    heat_maps: tuple[HeatMap, ...]
    crop: record.CropParams
    batch: int
    threshold: float


@dataclasses.dataclass(frozen=True)
class Classified:
    """A lesion and its classification.

    Attributes:
      lesion_id: its number in the instance mask.
      probability: of being RAI-refractory.
      heat: Grad-CAM, the mean of the members, in units of the logit and 0 where no network looks;
        float32 on the grid of the lesion's crop at 1 mm, about the middle of its bounding box. None
        where it was not asked for.
    """

    lesion_id: int
    probability: float
    heat: Volume | None = None


def make_classifier(network: TrainedNetwork) -> Classifier:
    """The classifier of a run.

    Args:
      network: with its threshold. The configurations of its members may differ where a run chose
        among candidates, except in `data.size_mm`.
    """
    if network.threshold is None:
        raise ValueError("a classifier needs a threshold.")
    crop = record.CropParams(tuple(network.config.data.size_mm))
    heat_maps = tuple(_heat_map(member) for member in network.members)
    return Classifier(
        network, heat_maps, crop, network.config.predict.batch_size, network.threshold
    )


def _heat_map(member: Member) -> HeatMap:
    spec = classification.make_preprocess(member.config)
    senet = classification.make_network(member.config)

    @jax.jit
    def heat(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        x = preprocess(image, mask, spec, jnp)  # [B, D, H, W, C]
        return saliency.heat_maps(senet, params, batch_stats, x)

    variables = jax.device_put((member.params, member.batch_stats))
    return HeatMap(functools.partial(heat, *variables), spec.spacing_mm)


def classify(
    classifier: Classifier, image: Volume, mask: Volume, *, heat: bool = False
) -> Iterator[Classified]:
    """Classifies the lesions of a scan, in the order of their numbers; batches are of one size.

    Args:
      classifier: see `make_classifier`.
      image: chest CT in HU, of any spacing.
      mask: whole numbers on the grid of `image`, 0 outside the lesions.
      heat: whether to make the heat maps as well.
    """
    boxes = lesions.numbered(mask.array)
    for first in progress.track(range(0, len(boxes), classifier.batch), "batches of lesions"):
        batch = boxes[first : first + classifier.batch]
        crops = [cut(image, mask, number, box, classifier.crop) for number, box in batch]
        # The last batch is filled up with copies: its shape is compiled already.
        padded = crops + crops[-1:] * (classifier.batch - len(crops))
        arrays = (
            jnp.asarray(np.stack([crop.array for crop, _ in padded])),
            jnp.asarray(np.stack([region.array for _, region in padded])),
        )
        logits = np.asarray(classifier.network.on_device(*arrays), float)
        probabilities = special.expit(logits)  # [B]
        maps: Sequence[Volume | None] = [None] * len(batch)
        if heat:
            maps = _heat(classifier, arrays, [crop for crop, _ in crops])
        for (number, _), probability, lesion_heat in zip(batch, probabilities, maps, strict=False):
            yield Classified(number, float(probability), lesion_heat)


def cut(
    image: Volume,
    mask: Volume,
    number: int,
    box: tuple[slice, ...],
    crop: record.CropParams,
) -> tuple[Volume, Volume]:
    """Cuts a lesion out as the datasets do, about the middle of its bounding box.

    Args:
      image: CT in HU.
      mask: the lesions' numbers, on the grid of `image`.
      number: of the lesion.
      box: the smallest around it; see `lesions.numbered`.
      crop: how it is cut out.

    Returns:
      HU int16 and the lesion uint8, both [d, h, w] at 1 mm along the axes of `image`.
    """
    center_mm = image.world([(side.start + side.stop - 1) / 2 for side in box])
    part = mask.part(box)
    lesion = Volume(part.array == number, part.affine)  # it is all inside its box
    shown = record.about_lesion(image, lesion, center_mm, crop)
    affine = image.affine.copy()
    affine[:3, :3] /= image.spacing_mm
    affine[:3, 3] = center_mm - affine[:3, :3] @ ((np.array(crop.size_mm) - 1) / 2)
    return Volume(shown["image"], affine), Volume(shown["mask"], affine)


def _heat(classifier: Classifier, arrays: Arrays, crops: Sequence[Volume]) -> list[Volume]:
    """The mean of the members' maps on the grid of each crop. # [d, h, w]"""
    maps = [np.zeros(crop.shape, np.float32) for crop in crops]
    for heat_map in classifier.heat_maps:
        heat = np.asarray(heat_map.of(*arrays))  # [B, D, H, W]
        for crop_heat, crop, total in zip(heat, crops, maps, strict=False):
            middle_mm = crop.world((np.array(crop.shape) - 1) / 2)
            total += saliency.on_scan(crop_heat, middle_mm, heat_map.spacing_mm, crop).array
    share = np.float32(1 / len(classifier.heat_maps))
    return [Volume(total * share, crop.affine) for total, crop in zip(maps, crops, strict=True)]

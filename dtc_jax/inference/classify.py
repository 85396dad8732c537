"""The classifier on a scan whose lesions are numbered: from HU to a probability for each lesion."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from scipy import special

from dtc_jax import progress
from dtc_jax.crops import record
from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.preprocess import preprocess
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import saliency
from dtc_jax.tasks import classification
from dtc_jax.training.result import FitResult
from dtc_jax.training.task import PyTree

Arrays = tuple[jax.Array, jax.Array]  # image in HU, mask: [B, d, h, w] at 1 mm


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the networks that decide together.

    Attributes:
      logit: (image, mask) [B, d, h, w] -> [B]; jitted.
      heat: the same -> Grad-CAM on the network's own grid [B, D, H, W]; jitted.
      spacing_mm: of that grid.
    """

    logit: Callable[..., jax.Array]
    heat: Callable[..., jax.Array]
    spacing_mm: float


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Trained networks, and how they are used on a lesion.

    Attributes:
      members: the probability is that of the mean of their logits.
      crop: how a lesion is cut out, as it was for training.
      batch: lesions that the networks see at once.
      threshold: a probability at or above it is the decision 'refractory'.
    """

    members: tuple[Member, ...]
    crop: record.CropParams
    batch: int
    threshold: float


@dataclasses.dataclass(frozen=True)
class Classified:
    """A lesion and what the classifier says of it.

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


def make_classifier(
    networks: Sequence[tuple[ml_collections.ConfigDict, FitResult]], threshold: float
) -> Classifier:
    """The classifier of a run.

    Args:
      networks: configuration and trained network of each fold; the configurations may differ where
        a run chose among candidates, but for `data.size_mm`.
      threshold: of the decision.

    Raises:
      UsageError: there is no network.
    """
    if not networks:
        raise UsageError("a classifier needs at least one network.")
    config = networks[0][0]
    size_mm = tuple(config.data.size_mm)
    members = tuple(_member(own, result) for own, result in networks)
    return Classifier(members, record.CropParams(size_mm), config.predict.batch_size, threshold)


def _member(config: ml_collections.ConfigDict, network: FitResult) -> Member:
    spec = classification.make_preprocess(config)
    forward, senet = classification.make_forward(config), classification.make_network(config)

    @jax.jit
    def logit(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        return forward(params, batch_stats, preprocess(image, mask, spec, jnp))

    @jax.jit
    def heat(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        x = preprocess(image, mask, spec, jnp)  # [B, D, H, W, C]
        return saliency.heat_maps(senet, params, batch_stats, x)

    variables = jax.device_put((network.params, network.batch_stats))
    return Member(
        functools.partial(logit, *variables), functools.partial(heat, *variables), spec.spacing_mm
    )


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
    found = lesions.numbered(mask.array)
    for first in progress.track(range(0, len(found), classifier.batch), "batches of lesions"):
        some = found[first : first + classifier.batch]
        crops = [cut(image, mask, *one, classifier.crop) for one in some]
        # The last batch is filled up with copies: its shape is compiled already.
        padded = crops + crops[-1:] * (classifier.batch - len(crops))
        arrays = (
            jnp.asarray(np.stack([crop.array for crop, _ in padded])),
            jnp.asarray(np.stack([region.array for _, region in padded])),
        )
        logits = [np.asarray(one.logit(*arrays), float) for one in classifier.members]
        probabilities = special.expit(np.mean(logits, axis=0))  # [B]
        maps: Sequence[Volume | None] = [None] * len(some)
        if heat:
            maps = _heat(classifier, arrays, [crop for crop, _ in crops])
        for (number, _), probability, one in zip(some, probabilities, maps, strict=False):
            yield Classified(number, float(probability), one)


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
    lesion = Volume(part.array == number, part.affine)  # nothing of it lies outside its box
    shown = record.about_lesion(image, lesion, center_mm, crop)
    affine = image.affine.copy()
    affine[:3, :3] /= image.spacing_mm
    affine[:3, 3] = center_mm - affine[:3, :3] @ ((np.array(crop.size_mm) - 1) / 2)
    return Volume(shown["image"], affine), Volume(shown["mask"], affine)


def _heat(classifier: Classifier, arrays: Arrays, crops: Sequence[Volume]) -> list[Volume]:
    """The mean of the members' maps on the grid of each crop. # [d, h, w]"""
    maps = [np.zeros(crop.shape, np.float32) for crop in crops]
    for member in classifier.members:
        found = np.asarray(member.heat(*arrays))  # [B, D, H, W]
        for own, crop, total in zip(found, crops, maps, strict=False):
            middle_mm = crop.world((np.array(crop.shape) - 1) / 2)
            total += saliency.on_scan(own, middle_mm, member.spacing_mm, crop).array
    share = np.float32(1 / len(classifier.members))
    return [Volume(total * share, crop.affine) for total, crop in zip(maps, crops, strict=True)]

"""The classifier on a scan whose lesions are numbered: from HU to a probability for each lesion."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from dtc_jax import progress
from dtc_jax.crops import record
from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.storage import PathLike


class Answer(Protocol):
    """A network that classifies crops, on whatever runtime."""

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, heat: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Answers a batch.

        Args:
          image: int16 HU [B, d, h, w] at 1 mm.
          mask: uint8 [B, d, h, w].
          heat: whether to make the heat maps as well.

        Returns:
          Probability of the positive class [B]; and Grad-CAM [B, d, h, w] on the same grid, the
          mean of the members, or None.
        """


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained network, and how it is used on a lesion.

    Attributes:
      answer: gives the probability and the heat map.
      crop: how a lesion is cut out, as it was for training.
      batch: lesions that the network sees at once.
      threshold: a probability at or above it is the decision 'refractory'.
      fingerprints: SHA-256 of what the network was made with, and of its weights.
    """

    answer: Answer
    crop: record.CropParams
    batch: int
    threshold: float
    fingerprints: Mapping[str, str]


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


def refuse_cubes(path: PathLike, source: str) -> None:
    """Refuses a classifier that was not trained on CT.

    Args:
      path: of the run or the bundle, for the message.
      source: `config.data.source` of its training.

    Raises:
      InputError: it was trained on MedMNIST.
    """
    if source == "medmnist3d":
        raise InputError(
            f"{path}: was trained on the cubes of MedMNIST, which are not CT in HU; give a "
            "classifier that was trained on scans."
        )


def classify(
    classifier: Classifier, image: Volume, mask: Volume, *, heat: bool = False
) -> Iterator[Classified]:
    """Classifies the lesions of a scan, in the order of their numbers; batches are of one size.

    Args:
      classifier: of a run, see `networks.classifier`, or of a bundle, see `serving.classifier`.
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
        probabilities, found = classifier.answer(
            np.stack([crop.array for crop, _ in padded]),
            np.stack([region.array for _, region in padded]),
            heat,
        )
        maps: Sequence[Volume | None] = [None] * len(batch)
        if found is not None:  # [B, d, h, w]
            maps = [Volume(one, crop.affine) for one, (crop, _) in zip(found, crops, strict=False)]
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

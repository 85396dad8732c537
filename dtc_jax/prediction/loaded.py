"""One trained network from Python: `dtc_jax.load`."""

import dataclasses

import numpy as np
import pandas as pd

from dtc_jax.errors import UsageError
from dtc_jax.imaging import in_memory
from dtc_jax.imaging.in_memory import Image
from dtc_jax.inference import second_look
from dtc_jax.inference.classify import Classifier, classify
from dtc_jax.inference.segment import Segmenter, segment
from dtc_jax.prediction import predictors
from dtc_jax.storage import PathLike


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A classified lesion.

    Attributes:
      number: in the mask.
      probability: of the positive class: RAI-refractory; of a second look, that it is a lesion.
      positive: whether the probability is at least the network's threshold.
      heat: Grad-CAM in units of the logit, on a grid of 1 mm along the scan's axes about the middle
        of the lesion's bounding box; an array [d, h, w], or an image of nibabel in its place.
    """

    number: int
    probability: float
    positive: bool
    heat: Image


@dataclasses.dataclass(frozen=True)
class Found:
    """What a segmenter found.

    Attributes:
      lesions: a row a lesion, columns of `imaging.instances.COLUMNS`; where the network has a
        `lesion_threshold`, `is_lesion` says which of them reach it.
      mask: the lesions' numbers, on the grid of the scan, of the kind that was given.
      lungs: where lesions were looked for, of the same kind.
    """

    lesions: pd.DataFrame
    mask: Image
    lungs: Image


@dataclasses.dataclass(frozen=True)
class Network:
    """The network of a run or a bundle.

    Attributes:
      task: 'classification', 'segmentation' or 'candidates'.
      fingerprints: SHA-256 of its configuration and its weights.
    """

    task: str
    fingerprints: dict[str, str]
    _used: Classifier | Segmenter

    def classify(
        self, volume: Image, mask: Image, *, spacing_mm: tuple[float, float, float] | None = None
    ) -> list[Lesion]:
        """Classifies the lesions of a scan, in the order of their numbers.

        Args:
          volume: chest CT in HU: an array [Z, Y, X] whose indices rise to the head, the front and
            the patient's right hand (RAS+), or an image of nibabel in any orientation.
          mask: whole numbers on the same grid, 0 outside; of the kind of `volume`. One number is
            one lesion, even where its voxels are apart.
          spacing_mm: of an array: distance of neighbouring voxels along z, y, x.

        Raises:
          InputError: the scan is no CT in HU, or the mask is empty, on another grid or no mask.
          UsageError: the network is a segmenter, an array has no spacing, or the mask is an array
            and the scan is an image.
        """
        if not isinstance(self._used, Classifier):
            raise UsageError("this network is a segmenter; call segment, or load a classifier.")
        in_memory.refuse_mixture("the mask", mask, volume)
        scan = in_memory.read_ct(volume, spacing_mm)
        numbers = in_memory.read_lesions("the mask", mask, scan)
        lesions = []
        for one in classify(self._used, scan, numbers, heat=True):
            assert one.heat is not None  # it was asked for
            heat = in_memory.given_back(one.heat, volume, scan.axes)
            positive = one.probability >= self._used.threshold
            lesions.append(Lesion(one.lesion_id, one.probability, positive, heat))
        return lesions

    def segment(
        self,
        volume: Image,
        *,
        spacing_mm: tuple[float, float, float] | None = None,
        lungs: Image | None = None,
    ) -> Found:
        """Finds the lesions in the lungs of a scan.

        Args:
          volume: see `classify`.
          spacing_mm: see `classify`.
          lungs: not 0 in the lungs, on the same grid and of the kind of `volume`; None to find
            them.

        Raises:
          InputError: the scan is no CT in HU, its lungs are on another grid, or none were found.
          UsageError: the network is a classifier, an array has no spacing, or the lungs are an
            array and the scan is an image.
        """
        if not isinstance(self._used, Segmenter):
            raise UsageError("this network is a classifier; call classify, or load a segmenter.")
        scan = in_memory.read_ct(volume, spacing_mm)
        field = None
        if lungs is not None:
            in_memory.refuse_mixture("the lungs", lungs, volume)
            given = in_memory.read_mask("the lungs", lungs, scan)
            field = dataclasses.replace(given, array=np.asarray(given.array != 0))
        found = segment(self._used, scan, field)
        back = [in_memory.given_back(one, volume, scan.axes) for one in (found.mask, found.lungs)]
        return Found(second_look.look_again(self._used, None, scan, found), *back)


def load(path: PathLike) -> Network:
    """The network of a run (JAX computes it) or a bundle (ONNX Runtime does).

    Args:
      path: folder of a run that was trained and evaluated, or of a bundle.

    Raises:
      InputError: it is neither, or cannot be used; names what is wrong.
    """
    task = predictors.task_of(path)
    used: Classifier | Segmenter
    if task == "segmentation":
        used, described = predictors.load_segmenter(path)
    else:
        used, described = predictors.load_classifier(path, task)
    return Network(task, {name: described[name] for name in ("config", "weights")}, used)

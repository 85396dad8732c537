"""What the review page shows."""

import dataclasses
from collections.abc import Mapping, Sequence

from dtc_jax.imaging.volume import Volume


@dataclasses.dataclass(frozen=True)
class Finding:
    """A lesion and what was found out about it.

    Attributes:
      lesion_id: its number in the instance mask.
      image: HU about the lesion. Its axes may run in any direction of the world.
      mask: bool, on the grid of `image`.
      heat: Grad-CAM in logit units, at least 0, on the grid of `image`; None where there is none.
      measures: its row of lesions.csv: the columns of `imaging.instances.COLUMNS`, then
        `refractory_probability`, `threshold` and `decision`.
    """

    lesion_id: int
    image: Volume
    mask: Volume
    heat: Volume | None
    measures: Mapping[str, float | int | str]

    def __post_init__(self):
        for name, other in (("mask", self.mask), ("heat", self.heat)):
            if other is not None and other.shape != self.image.shape:
                raise ValueError(
                    f"lesion {self.lesion_id}: the {name} has {other.shape} voxels (z, y, x), the "
                    f"image {self.image.shape}"
                )


@dataclasses.dataclass(frozen=True)
class About:
    """The head of the page.

    Attributes:
      title: a pseudonym or the scan's id, never an identity.
      threshold: probability from which a lesion is decided refractory.
      lines: facts, as (name, value).
    """

    title: str
    threshold: float
    lines: Sequence[tuple[str, str]]

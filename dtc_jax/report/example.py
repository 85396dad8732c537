"""A lesion that the report shows, with where the network looked."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Example:
    """A lesion, its decision and its heat map, on the grid of its crop at 1 mm.

    Attributes:
      lesion_id: as in the tables.
      cohort: that it belongs to.
      label: 1 refractory, 0 avid.
      score: probability of being refractory, of the networks that classified it.
      threshold: of the decision.
      image: HU. # [D, H, W], indices rise to the head, the front and the patient's right
      mask: bool, of the lesion. # [D, H, W]
      heat: Grad-CAM, the mean of these networks, in units of the logit, from 0 on. # [D, H, W]
      window: HU that the networks see as black and white.
    """

    lesion_id: str
    cohort: str
    label: int
    score: float
    threshold: float
    image: np.ndarray
    mask: np.ndarray
    heat: np.ndarray
    window: tuple[float, float]

    @property
    def is_right(self) -> bool:
        """Whether the decision is that of the label."""
        return (self.score >= self.threshold) == (self.label == 1)

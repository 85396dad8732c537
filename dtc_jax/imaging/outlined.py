"""An axial slice with the outlines of two masks: what a figure of a segmentation shows."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outlined:
    """An axial slice.

    Attributes:
      hu: [Y, X], as the arrays of this project lie: from the back, from the left.
      found: [Y, X] bool.
      true: [Y, X] bool.
      pixel_mm: along y, x.
      title: says which slice it is; never whose.
    """

    hu: np.ndarray
    found: np.ndarray
    true: np.ndarray
    pixel_mm: tuple[float, float]
    title: str


def largest_slice(mask: np.ndarray) -> int:
    """Number of the axial slice that shows most of a mask. # [Z, Y, X]"""
    return int(mask.sum(axis=(1, 2)).argmax())

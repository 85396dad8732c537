"""Series of a folder that go on where another one ends: one acquisition that was cut in two.

An archive or an export sometimes gives the later slices of an acquisition a SeriesInstanceUID of
their own. Each part looks like a whole series on a regular grid.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from dtc_jax.imaging.dicom import grid
from dtc_jax.imaging.dicom.slices import Slice

_SAME = 1e-3  # of direction cosines, and of mm between pixels, as in `grid`
_STEP = 0.1  # by which steps may differ, as a share
_ASIDE_MM = 0.5  # of the line through the slices
_ALIKE = ("ConvolutionKernel",)  # of the marks of a slice: what one acquisition has once


@dataclasses.dataclass(frozen=True)
class Part:
    """A series that may continue another one.

    Attributes:
      name: safe to print.
      frame: FrameOfReferenceUID; never shown.
      slices: at least one, in any order.
    """

    name: str
    frame: str
    slices: Sequence[Slice] = dataclasses.field(repr=False)


def continuing(chosen: Part, others: Iterable[Part]) -> list[str]:
    """The names of the parts that continue a series without a gap, on either side of it.

    Args:
      chosen: on a regular grid, of two slices or more.
      others: of the same study.
    """
    first = chosen.slices[0]
    across = grid.normal(first.axes)
    own = _sorted(chosen.slices, across)
    step = (own[-1] - own[0]) / (len(own) - 1)  # [3]
    places = {-1: own[0], 1: own[-1]}  # the ends of all parts that are found so far
    left = [part for part in others if _is_alike(chosen, part)]
    found: list[str] = []
    while left:
        for part in left:
            of_part = _sorted(part.slices, across)
            side = next((s for s in places if _goes_on(places[s], of_part[::s], s * step)), None)
            if side:
                places[side] = of_part[::side][-1]
                found.append(part.name)
                left.remove(part)
                break
        else:
            break
    return found


def _sorted(slices: Sequence[Slice], across: np.ndarray) -> np.ndarray:
    """The positions along the normal. # [Z, 3]"""
    return np.array(sorted((one.position_mm for one in slices), key=lambda at: float(at @ across)))


def _is_alike(chosen: Part, part: Part) -> bool:
    """Whether all slices could be of one grid, but for their positions."""
    first = chosen.slices[0]
    return part.frame == chosen.frame and all(
        one.shape == first.shape
        and np.abs(one.axes - first.axes).max() <= _SAME
        and np.abs(one.spacing_mm - first.spacing_mm).max() <= _SAME
        and all(one.marks.get(mark) == first.marks.get(mark) for mark in _ALIKE)
        for one in part.slices
    )


def _goes_on(end: np.ndarray, positions: np.ndarray, step: np.ndarray) -> bool:
    """Whether slices follow at `end`, with the same steps.

    Args:
      end: the last slice before them. # [3]
      positions: from there on. # [Z, 3]
      step: from slice to slice. # [3]
    """
    length_mm = float(np.linalg.norm(step))
    steps = np.diff(np.concatenate([end[None], positions]), axis=0)  # [Z, 3]
    along = steps @ (step / length_mm)
    aside = np.linalg.norm(steps - np.outer(along, step / length_mm), axis=1)
    return bool((np.abs(along / length_mm - 1) <= _STEP).all() and aside.max() <= _ASIDE_MM)

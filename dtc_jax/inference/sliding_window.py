"""A whole volume through a network that sees a window at a time.

Windows overlap and are blended with Gaussian weights, so that a voxel is decided mostly by the
windows that see what surrounds it (as in nnU-Net, Isensee et al., Nature Methods 2021, and MONAI).
The network is called with a fixed batch of windows, so that it is compiled once.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from dtc_jax import progress
from dtc_jax.errors import UsageError
from dtc_jax.imaging import lesions

Predict = Callable[[np.ndarray], Any]

_LEAST_WEIGHT = 1e-3  # of the largest; a corner that one window alone covers must not vanish


@dataclasses.dataclass(frozen=True)
class SlidingWindow:
    """How a volume is cut into windows.

    Attributes:
      window: voxels of a window along z, y, x.
      overlap: share of a window's side by which neighbours overlap, in [0, 1).
      batch: windows that the network sees at once.
      sigma: standard deviation of the weights, as a share of a window's side.
    """

    window: tuple[int, int, int]
    overlap: float = 0.5
    batch: int = 2
    sigma: float = 0.125

    def __post_init__(self):
        if len(self.window) != 3 or min(self.window) < 1 or self.batch < 1:
            raise UsageError(f"{self}: window needs three sides, and batch one window, at least 1.")
        if not 0 <= self.overlap < 1 or not self.sigma > 0:
            raise UsageError(f"{self}: overlap must be in [0, 1) and sigma above 0.")


class Sums(Protocol):
    """The sums of weighted probability and of weights over a volume.

    Args:
      shape: of the volume, (Z, Y, X).
      weights: of a window's voxels. # [d, h, w]
    """

    def __init__(self, shape: tuple[int, ...], weights: np.ndarray) -> None: ...

    def add(self, probability: Any, starts: np.ndarray, count: int) -> None:
        """Adds the first `count` windows of a batch [B, d, h, w], which start at [B, 3]."""

    def mean(self) -> np.ndarray:
        """[Z, Y, X] float32; 0 where no window was added."""


class HostSums:
    """`Sums` in NumPy."""

    def __init__(self, shape: tuple[int, ...], weights: np.ndarray) -> None:
        self._total, self._weight = (np.zeros(shape, np.float32) for _ in range(2))
        self._weights = weights

    def add(self, probability: Any, starts: np.ndarray, count: int) -> None:
        """See `Sums`."""
        for start, window in zip(starts[:count], np.asarray(probability)[:count], strict=True):
            place = _window(start, self._weights.shape)
            self._total[place] += self._weights * window
            self._weight[place] += self._weights

    def mean(self) -> np.ndarray:
        """See `Sums`."""
        return divided(self._total, self._weight)


def divided(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted mean where there is a weight, else 0."""
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def sliding_window(
    predict: Predict,
    image: np.ndarray,
    spec: SlidingWindow,
    field: np.ndarray | None = None,
    sums: type[Sums] = HostSums,
) -> np.ndarray:
    """Runs `predict` over `image` and blends its output at each voxel.

    A volume smaller than a window is padded with its outermost voxels. Every window that a voxel of
    `field` lies in is computed, so inside the field the result is that of the windows around it,
    whatever is left out.

    Args:
      predict: windows [batch, d, h, w] float32 -> probability [batch, d, h, w].
      image: [Z, Y, X].
      spec: see `SlidingWindow`.
      field: [Z, Y, X] bool, what is asked for; None for everything.
      sums: where the windows are added up.

    Returns:
      [Z, Y, X] float32; 0 where no window was computed.
    """
    result = np.zeros(image.shape, np.float32)
    if field is None:
        region: tuple[slice, ...] = (slice(None),) * 3
    elif field.any():
        region = _with_context(lesions.bounding_box(field), spec)
        field = field[region]
    else:
        return result
    part = image[region]
    margins = [(lack // 2, lack - lack // 2) for lack in _lacking(part.shape, spec.window)]
    padded = np.pad(part, margins, mode="edge")
    starts = _starts(padded.shape, spec)  # [N, 3]
    if field is not None:
        asked = np.pad(field, margins)
        starts = np.array([start for start in starts if asked[_window(start, spec.window)].any()])
    blended = _blend(predict, padded, starts, spec, sums)
    inside = (slice(before, before + n) for (before, _), n in zip(margins, part.shape, strict=True))
    result[region] = blended[tuple(inside)]
    return result


def _with_context(box: tuple[slice, ...], spec: SlidingWindow) -> tuple[slice, ...]:
    """The box and what is around it: a quarter of a window, or what a window lacks, if more."""
    grown = []
    for side, n in zip(box, spec.window, strict=True):
        margin = max(n // 4, (n - (side.stop - side.start) + 1) // 2)
        grown.append(slice(max(0, side.start - margin), side.stop + margin))
    return tuple(grown)


def _lacking(shape: tuple[int, ...], window: tuple[int, ...]) -> list[int]:
    return [max(0, wanted - n) for n, wanted in zip(shape, window, strict=True)]


def _starts(shape: tuple[int, ...], spec: SlidingWindow) -> np.ndarray:
    """First voxels of the windows; the last one along an axis ends with the volume. # [N, 3]"""
    along = []
    for n, window in zip(shape, spec.window, strict=True):
        step = max(1, round(window * (1 - spec.overlap)))
        along.append([min(start, n - window) for start in range(0, n - window + step, step)])
    return np.array(list(itertools.product(*along)), np.int32)


def _window(start: np.ndarray, window: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(start.tolist(), window, strict=True))


def importance(spec: SlidingWindow) -> np.ndarray:
    """Weights of a window's voxels: a Gaussian about its middle, 1 at the most. # [d, h, w]"""
    weights = np.ones(spec.window)
    for axis, n in enumerate(spec.window):
        away = (np.arange(n) - (n - 1) / 2) / (spec.sigma * n)
        weights *= np.expand_dims(
            np.exp(-(away**2) / 2), [other for other in range(3) if other != axis]
        )
    return np.maximum(weights / weights.max(), _LEAST_WEIGHT).astype(np.float32)


def _blend(
    predict: Predict,
    image: np.ndarray,
    starts: np.ndarray,
    spec: SlidingWindow,
    kind: type[Sums],
) -> np.ndarray:
    """Weighted mean over the windows that start at `starts` [N, 3]. # [Z, Y, X]"""
    sums = kind(image.shape, importance(spec))
    for first in progress.track(range(0, len(starts), spec.batch), "windows"):
        some = starts[first : first + spec.batch]
        # The last batch is filled up with copies that count nothing: its shape is compiled already.
        batch = np.concatenate([some, np.repeat(some[-1:], spec.batch - len(some), axis=0)])
        windows = np.stack([image[_window(start, spec.window)] for start in batch])
        sums.add(predict(windows.astype(np.float32)), batch, len(some))
    return sums.mean()

"""From a stored record in HU to the network's input: shared by training, inference, export.

`xp` is `numpy` or `jax.numpy`; nothing here imports JAX. A crop is centred: index i of an output
axis of n voxels samples input position `middle` + (i - (n - 1) / 2) * `step`.
"""

import dataclasses
from typing import Any, Literal

import numpy as np

from dtc_jax.errors import UsageError

_ROUNDING = 1e-4  # of a voxel: what arithmetic on positions may add or take
IGNORED = 2  # of a stored mask: neither lesion (1) nor background (0)


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """How a stored crop becomes the network's input.

    Attributes:
      crop_mm: sides of the field of view along z, y, x.
      spacing_mm: of the network's grid, the same along all axes.
      window: HU that become 0 and 1.
      mask: 'none': not seen; 'channel': as a second channel; 'apply': what lies outside it is 0.
      grid: 'lesion': a record is at 1 mm about the exact middle of a lesion, and the network's grid
        is interpolated from it; 'scan': a record is a window of the network's own grid, which
        starts where the scan does, and whole voxels of it are cut out.
      antialias: how a scan is smoothed where its own grid is finer than the network's: 'gaussian',
        see `resample.resample`, or 'none'. Of grid 'scan' alone.
    """

    crop_mm: tuple[float, float, float] = (32, 48, 48)
    spacing_mm: float = 1.0
    window: tuple[float, float] = (-1000.0, 400.0)
    mask: Literal["none", "channel", "apply"] = "none"
    grid: Literal["lesion", "scan"] = "lesion"
    antialias: Literal["gaussian", "none"] = "none"

    def __post_init__(self):
        if self.mask not in ("none", "channel", "apply"):
            raise UsageError(f"config.preprocess.mask={self.mask!r}: use none, channel or apply.")
        if self.antialias not in ("gaussian", "none"):
            raise UsageError(
                f"config.preprocess.antialias={self.antialias!r}: use gaussian or none."
            )
        for name, count in (("crop_mm", 3), ("window", 2)):
            value = getattr(self, name)
            if np.shape(value) != (count,):
                raise UsageError(f"config.preprocess.{name}={value!r}: give {count} numbers.")
        if not self.window[0] < self.window[1]:
            raise UsageError(f"config.preprocess.window={self.window}: the first must be smaller.")
        if not self.spacing_mm > 0 or min(self.shape) < 1:
            raise UsageError(
                f"config.preprocess: crop_mm={self.crop_mm} at spacing_mm={self.spacing_mm} has no "
                "voxels; use positive lengths."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (D, H, W) of the network's input."""
        depth, height, width = (round(side / self.spacing_mm) for side in self.crop_mm)
        return depth, height, width

    @property
    def record_mm(self) -> float:
        """Spacing of the records, the same along all axes."""
        return self.spacing_mm if self.grid == "scan" else 1.0

    @property
    def scan_grid(self) -> tuple[float, str]:
        """What the grid of a whole scan depends on; see `grid.to_grid`."""
        return self.spacing_mm, self.antialias

    @property
    def step(self) -> float:
        """Voxels of a record from one voxel of the network's grid to the next."""
        return self.spacing_mm / self.record_mm

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return 2 if self.mask == "channel" else 1


def middle(n_in: int, n_out: int, spec: Preprocess) -> float:
    """Where on an axis of a record of n_in voxels the middle of n_out output voxels lies.

    Args:
      n_in: voxels of the record.
      n_out: of the network's input.
      spec: says which voxel or point is in the middle.
    """
    if spec.grid == "lesion":
        return (n_in - 1) / 2
    # Whole voxels: the record's middle one, or the lower of two, becomes the output's.
    return (n_in - 1) // 2 - (n_out - 1) // 2 + (n_out - 1) / 2


def offsets(n_out: int, spec: Preprocess) -> np.ndarray:
    """Where an output axis samples a record, relative to `middle`. # [n_out]

    Args:
      n_out: voxels of the network's input.
      spec: gives the step from one to the next, in voxels of the record.
    """
    return (np.arange(n_out) - (n_out - 1) / 2) * spec.step


def crop(x: Any, spec: Preprocess, xp: Any, edge: bool = True) -> Any:
    """Cuts the field of view out of the middle of `x` and brings it to the network's grid.

    Linear interpolation along each axis, as weighted sums of two slices: a matrix product would
    round its factors to 10 bits on a GPU and to 8 on a TPU, and is slower on a CPU.

    Args:
      x: [..., d, h, w] on the grid of the records.
      spec: see `Preprocess`.
      xp: numpy or jax.numpy.
      edge: whether the outermost voxels go on beyond `x` (a scan); if not, 0 does (a mask).

    Returns:
      [..., D, H, W] float32.
    """
    x = x.astype(xp.float32)
    for axis, n_out in zip((-3, -2, -1), spec.shape, strict=True):
        position = middle(x.shape[axis], n_out, spec) + offsets(n_out, spec)  # [n_out]
        first = int(position[0])
        if spec.step == 1 and position[0] == first and 0 <= first <= x.shape[axis] - n_out:
            cut = [slice(None)] * x.ndim
            cut[axis] = slice(first, first + n_out)
            x = x[tuple(cut)]
        else:
            x = _interpolate(x, axis, position, xp, edge)
    return x


def uncrop(x: Any, shape: tuple[int, ...], spec: Preprocess, xp: Any) -> Any:
    """Lays what is on the network's grid back over the record that `crop` cut it from.

    Args:
      x: [..., D, H, W].
      shape: of the record, (d, h, w).
      spec: see `Preprocess`.
      xp: numpy or jax.numpy.

    Returns:
      [..., d, h, w] float32, interpolated as in `crop`; 0 beyond the centres of the outer voxels.
    """
    x = x.astype(xp.float32)
    for axis, n_in in zip((-3, -2, -1), shape, strict=True):
        n_out = x.shape[axis]
        away = np.arange(n_in) - middle(n_in, n_out, spec)
        position = away / spec.step + (n_out - 1) / 2  # [n_in]
        inside = (position >= -_ROUNDING) & (position <= n_out - 1 + _ROUNDING)
        along = [1] * x.ndim
        along[axis] = n_in
        x = _interpolate(x, axis, np.clip(position, 0, n_out - 1), xp, True)
        x = x * inside.reshape(along).astype(np.float32)
    return x


def _interpolate(x: Any, axis: int, position: np.ndarray, xp: Any, edge: bool) -> Any:
    """`x` at fractional indices along one axis. # [..., n_in, ...] -> [..., n_out, ...]"""
    n_in = x.shape[axis]
    lower = np.floor(position).astype(np.int32)
    share = position - lower  # of the upper neighbour
    along = [1] * x.ndim
    along[axis] = len(position)
    terms: list[Any] = []
    for index, weight in ((lower, 1.0 - share), (lower + 1, share)):
        if not edge:
            weight = np.where((index >= 0) & (index < n_in), weight, 0.0)
        if terms and not weight.any():  # all positions are whole
            return terms[0]
        nearest = xp.take(x, np.clip(index, 0, n_in - 1), axis=axis)
        terms.append(nearest * weight.reshape(along).astype(np.float32))
    return terms[0] + terms[1]


def normalize(hu: Any, mask: Any, spec: Preprocess, xp: Any) -> Any:
    """Windows `hu` [..., D, H, W] to [0, 1] and uses `mask` as `spec` says.

    Args:
      hu: [..., D, H, W].
      mask: [..., D, H, W] in [0, 1], soft where it was interpolated.
      spec: see `Preprocess`.
      xp: numpy or jax.numpy.

    Returns:
      [..., D, H, W, C] float32.
    """
    low, high = spec.window
    x = xp.clip((hu - low) / (high - low), 0.0, 1.0).astype(xp.float32)
    if spec.mask == "apply":
        x = x * mask
    channels = [x, mask.astype(xp.float32)] if spec.mask == "channel" else [x]
    return xp.stack(channels, axis=-1)  # [..., D, H, W, C]


def preprocess(image: Any, mask: Any, spec: Preprocess, xp: Any) -> Any:
    """A record's HU and mask [..., d, h, w] to the network's input [..., D, H, W, C].

    Args:
      image: int16 HU on the records' grid.
      mask: uint8; ignored where `spec.mask` is 'none'.
      spec: crop, spacing, window and use of the mask.
      xp: `numpy` or `jax.numpy`.
    """
    return normalize(crop(image, spec, xp), crop(mask, spec, xp, edge=False), spec, xp)

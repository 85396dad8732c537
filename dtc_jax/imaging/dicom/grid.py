"""From slices to a regular grid, or to what keeps them from being one."""

import collections
from collections.abc import Sequence

import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom.slices import Slice
from dtc_jax.storage import PathLike

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_SAME = 1e-3  # of direction cosines, and of mm between pixels: rounding of headers
_SAME_PLACE_MM = 0.01
_GAP = 1.5  # of the distance of two slices
_TILT_DEG = 0.1  # shifts the ends of a 400 mm scan by 0.7 mm
_SHIFT_MM = 0.1
"""How far a slice may lie from its place.

Twice what rounding to a tenth of a millimetre takes from the positions of a straight scan, which
differ along one axis alone. No step is then off by more than 0.2 mm, the tolerance of dcm2niix
(`kSliceTolerance` in its console/nii_dicom_batch.cpp). highdicom allows 1 % of the mean step
(`spatial.get_volume_positions`), which refuses thin slices with rounded positions; ITK takes the
mean of all steps and warns from 0.01 % (`ImageSeriesReader`). A share of the step as large as a
tenth would let one of 5.9 mm among others of 5 mm pass: the line through the slices shares the
difference out, and those on either side lie half a millimetre away from where they are measured.
"""
_SHOWN = 3
_SPLIT = "split it, or export one series alone"


def normal(axes: np.ndarray) -> np.ndarray:
    """Unit vector across a slice, its largest component positive. # [2, 3] -> [3]"""
    across = np.cross(*axes)
    return across * np.sign(across[np.abs(across).argmax()])


def arrange(path: PathLike, slices: Sequence[Slice]) -> tuple[tuple[Slice, ...], np.ndarray]:
    """Orders the slices of a series along their common normal.

    Args:
      path: of the folder, for messages.
      slices: in any order.

    Returns:
      The slices in order, and the affine [4, 4] that maps (column, row, slice, 1) to RAS
      coordinates in mm.

    Raises:
      InputError: there are fewer than two; they differ in size, orientation or pixel spacing; some
        are missing, doubled or lie more than `_SHIFT_MM` from where even steps would put them; they
        are sheared by a gantry tilt.
    """
    if len(slices) < 2:
        raise InputError(f"{path}: the series has one slice; name the folder with all of them.")
    _check_alike(path, slices)
    axes, across = slices[0].axes, normal(slices[0].axes)
    ordered = sorted(slices, key=lambda one: float(one.position_mm @ across))
    positions = np.array([one.position_mm for one in ordered])  # [Z, 3]
    heights = positions @ across  # [Z]
    _check_steps(path, heights)
    # The line through all slices: a scanner may round each position to a tenth of a millimetre.
    index = np.arange(len(slices))
    step, start = np.polyfit(index, positions, 1)  # [3], [3]
    off_mm = np.linalg.norm(positions - (start + np.outer(index, step)), axis=1)  # [Z]
    if off_mm.max() > _SHIFT_MM:
        steps = np.diff(heights)
        raise InputError(
            f"{path}: the slices are not evenly spaced: {steps.min():.2f} to {steps.max():.2f} mm, "
            f"and the one at {heights[off_mm.argmax()]:.2f} mm lies {off_mm.max():.2f} mm beside "
            f"its place ({_SHIFT_MM} mm is allowed for rounding); export the original series, or "
            "resample it first."
        )
    shift_mm = np.linalg.norm(np.cross(step, across))  # sideways, from slice to slice
    tilt_deg = np.degrees(np.arctan2(shift_mm, step @ across))
    if tilt_deg > _TILT_DEG and shift_mm * len(slices) > _SHIFT_MM:
        raise InputError(
            f"{path}: the slices are shifted against each other by a gantry tilt of "
            f"{tilt_deg:.1f} degrees; straighten the series first (dcm2niix does)."
        )
    affine = np.eye(4)
    columns = [*(axes * slices[0].spacing_mm[:, None]), step, start]
    affine[:3] = np.stack(columns, axis=1) * _LPS_TO_RAS[:, None]
    return tuple(ordered), affine


def _check_alike(path: PathLike, slices: Sequence[Slice]) -> None:
    sizes = collections.Counter(one.shape for one in slices)
    if len(sizes) > 1:
        found = ", ".join(f"{n} of {rows} × {cols}" for (rows, cols), n in sizes.most_common())
        raise InputError(f"{path}: the series mixes slices of several sizes ({found}); {_SPLIT}.")
    for what, values in (
        ("orientations", np.array([one.axes for one in slices])),
        ("pixel spacings", np.array([one.spacing_mm for one in slices])),
    ):
        other = np.abs(values - values[:1]).reshape(len(slices), -1).max(axis=1) > _SAME
        if other.any():
            raise InputError(
                f"{path}: the series mixes {what} ({other.sum()} of {len(slices)} slices differ "
                f"from the first); {_SPLIT}."
            )


def _check_steps(path: PathLike, heights: np.ndarray) -> None:
    """Refuses double slices and gaps in sorted positions along the normal. # [Z]"""
    steps = np.diff(heights)
    double = steps < _SAME_PLACE_MM
    if double.any():
        raise InputError(
            f"{path}: {double.sum()} of {len(heights)} slices lie where another one lies already "
            f"({_places(heights[1:][double])}): copies, or several phases in one series; keep one."
        )
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > _GAP * usual)
    if gaps.size:
        found = [f"{heights[i]:.2f} to {heights[i + 1]:.2f}" for i in gaps[:_SHOWN]]
        more = [f"and {gaps.size - _SHOWN} more"] if gaps.size > _SHOWN else []
        raise InputError(
            f"{path}: slices are missing: nothing lies in {', '.join([*found, *more])} mm, where "
            f"slices are {usual:.2f} mm apart elsewhere; copy the series again from its source."
        )


def _places(heights: np.ndarray) -> str:
    found = ", ".join(f"{height:.2f}" for height in heights[:_SHOWN])
    return f"at {found}{', …' if len(heights) > _SHOWN else ''} mm"

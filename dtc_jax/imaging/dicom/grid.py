"""From slices to a regular grid, or to a message that says why they are not one."""

import collections
from collections.abc import Sequence

import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import acquisitions
from dtc_jax.imaging.dicom.slices import Slice
from dtc_jax.storage import PathLike

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_SAME = 1e-3  # of direction cosines, and of mm between pixels: rounding of headers
_SAME_PLACE_MM = 0.01
_GAP = 1.5  # of the usual distance between slices
_SHIFT_MM = 0.1
"""Maximum distance of a slice from its place on the regular grid.

Twice the rounding error of positions to a tenth of a millimetre, in a straight scan, whose
positions differ along one axis only. No step then deviates by more than 0.2 mm, the tolerance of
dcm2niix (`kSliceTolerance` in its console/nii_dicom_batch.cpp). highdicom allows 1 % of the mean
step (`spatial.get_volume_positions`), which refuses thin slices with rounded positions; ITK uses
the mean of all steps and warns from 0.01 % (`ImageSeriesReader`). A tolerance of a tenth of the
step would accept one step of 5.9 mm among others of 5 mm: the line through the slices distributes
the difference, and its neighbours are half a millimetre away from their measured positions.
"""
_LISTED = 3
_SPLIT = "split it, or export a single series"


def normal(axes: np.ndarray) -> np.ndarray:
    """Unit normal of a slice, with its largest component positive. # [2, 3] -> [3]"""
    across = np.cross(*axes)
    return across * np.sign(across[np.abs(across).argmax()])


def arrange(path: PathLike, slices: Sequence[Slice]) -> tuple[tuple[Slice, ...], np.ndarray]:
    """Sorts the slices of a series along their common normal.

    Args:
      path: of the folder, for messages.
      slices: in any order.

    Returns:
      The sorted slices, and the affine [4, 4] that maps (column, row, slice, 1) to RAS
      coordinates in mm. It is sheared where the gantry was tilted, which `formats` refuses.

    Raises:
      InputError: there are fewer than two slices; they differ in size, orientation or pixel
        spacing; some are missing, duplicated or more than `_SHIFT_MM` away from a regular grid; or
        several acquisitions alternate.
    """
    if len(slices) < 2:
        raise InputError(
            f"{path}: the series has only one slice; give the folder with all of them."
        )
    _check_alike(path, slices)
    axes, across = slices[0].axes, normal(slices[0].axes)
    ordered = sorted(slices, key=lambda slice_: float(slice_.position_mm @ across))
    positions = np.array([slice_.position_mm for slice_ in ordered])  # [Z, 3]
    heights = positions @ across  # [Z]
    _check_steps(path, heights)
    # The line through all slices: a scanner may round each position to a tenth of a millimetre.
    index = np.arange(len(slices))
    step, start = np.polyfit(index, positions, 1)  # [3], [3]
    deviation_mm = np.linalg.norm(positions - (start + np.outer(index, step)), axis=1)  # [Z]
    if deviation_mm.max() > _SHIFT_MM:
        steps = np.diff(heights)
        raise InputError(
            f"{path}: the slices are not evenly spaced: {steps.min():.2f} to {steps.max():.2f} mm, "
            f"and the one at {heights[deviation_mm.argmax()]:.2f} mm is {deviation_mm.max():.2f} "
            f"mm away from a regular grid (tolerance {_SHIFT_MM} mm); export the original series, "
            "or resample it first."
        )
    mixed = acquisitions.alternating([slice_.marks for slice_ in ordered])
    if mixed:
        by, counts = mixed
        step_mm = np.linalg.norm(step)
        raise InputError(
            f"{path}: the slices of {len(counts)} acquisitions alternate in one series, "
            f"{' + '.join(map(str, counts))} slices, one every {step_mm:.2f} mm (they differ in "
            f"their {by}). Export one acquisition as a series of its own."
        )
    affine = np.eye(4)
    columns = [*(axes * slices[0].spacing_mm[:, None]), step, start]
    affine[:3] = np.stack(columns, axis=1) * _LPS_TO_RAS[:, None]
    return tuple(ordered), affine


def _check_alike(path: PathLike, slices: Sequence[Slice]) -> None:
    sizes = collections.Counter(slice_.shape for slice_ in slices)
    if len(sizes) > 1:
        listed = ", ".join(f"{n} of {rows} × {cols}" for (rows, cols), n in sizes.most_common())
        raise InputError(f"{path}: the series mixes slices of several sizes ({listed}); {_SPLIT}.")
    for what, values in (
        ("orientations", np.array([slice_.axes for slice_ in slices])),
        ("pixel spacings", np.array([slice_.spacing_mm for slice_ in slices])),
    ):
        differs = np.abs(values - values[:1]).reshape(len(slices), -1).max(axis=1) > _SAME
        if differs.any():
            raise InputError(
                f"{path}: the series mixes {what} ({differs.sum()} of {len(slices)} slices differ "
                f"from the first); {_SPLIT}."
            )


def _check_steps(path: PathLike, heights: np.ndarray) -> None:
    """Refuses duplicate slices and gaps in sorted positions along the normal. # [Z]"""
    steps = np.diff(heights)
    double = steps < _SAME_PLACE_MM
    if double.any():
        raise InputError(
            f"{path}: {double.sum()} of {len(heights)} slices have the same position as another "
            f"one ({_places(heights[1:][double])}): copies, or several phases in one series; "
            "keep one."
        )
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > _GAP * usual)
    if gaps.size:
        listed = [f"{heights[i]:.2f} to {heights[i + 1]:.2f}" for i in gaps[:_LISTED]]
        more = [f"and {gaps.size - _LISTED} more"] if gaps.size > _LISTED else []
        raise InputError(
            f"{path}: slices are missing in {', '.join([*listed, *more])} mm (the usual distance "
            f"is {usual:.2f} mm); copy the series again from its source."
        )


def _places(heights: np.ndarray) -> str:
    listed = ", ".join(f"{height:.2f}" for height in heights[:_LISTED])
    return f"at {listed}{', …' if len(heights) > _LISTED else ''} mm"

"""From the air in the lungs to the lungs: what bulges into them from the pleura is added.

What a ball cannot enter is closed, in each lung alone: closing both together would add much of the
mediastinum. A mass at the chest wall may be far wider than the ball, and as wide as the heart. It
differs from it in what is around it: lung above and below, and hardly any lung between it and the
ribs.
"""

from collections.abc import Sequence

import edt
import numpy as np

from dtc_jax.imaging import lesions, lung_sides

GRID_MM = 2.0
_COARSE = 2  # masses are looked for on a grid that is coarser by this factor
_TALL_MM = 80.0  # largest height of a mass
_NODULE_MM = 20.0  # radius of the ball that finds all but masses
_BULGE_MM = 4.0  # radius of the least of them that gets a rim, and the width of the rim
_SLOPES = ((0, 0), (0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))  # of the chest wall, in y and x
_RIM_MM = 16.0  # most lung between a mass and the chest wall
_MIDLINE_MM = 20.0  # the trachea, the spine and the sternum are as near to the midline
_THICK_MM = 9.0  # radius of a ball that fits in what is added; in less, it is no large mass
_SHELL_MM = 12.0  # of a mass, outside what lies between lung above and lung below
_SOFT_HU = (-200.0, 180.0)  # a mass is neither fat with partial volume of lung, nor rib


def filled(lungs: np.ndarray, hu: np.ndarray, closing_mm: float) -> np.ndarray:
    """Adds vessels, nodules and masses to the air of the lungs.

    Args:
      lungs: bool [Z, Y, X] on a grid of 2 mm; z runs along the body.
      hu: on the same grid, smoothed.
      closing_mm: radius of the ball.
    """
    margin = int(closing_mm / GRID_MM) + 2
    box = lesions.padded(lesions.bounding_box(lungs), [margin] * 3, lungs.shape)
    field = np.zeros_like(lungs)
    field[box] = _filled(lungs[box], hu[box], closing_mm)
    return field


def _filled(lungs: np.ndarray, hu: np.ndarray, closing_mm: float) -> np.ndarray:
    """`filled` in the box that it can change."""
    coarse = (slice(None, None, _COARSE),) * 3
    parts = lung_sides.split(lungs[coarse])
    masses = _masses(parts, hu[coarse])
    pieces = lesions.components(masses, connectivity=6)
    first = lungs
    if len(parts) == 2:
        first = lungs & (_finer(lung_sides.nearer_first(*parts), lungs.shape) > 0)
    field = np.zeros_like(lungs)
    for part, fine in zip(parts, (first, lungs & ~first), strict=False):
        touching = pieces[edt.edt(~part) * GRID_MM * _COARSE <= _THICK_MM]
        own = np.isin(pieces, np.setdiff1d(touching, [0]))
        field |= _closed(fine | (_finer(own, lungs.shape) >= 0.5), closing_mm / GRID_MM)
    field = _without_holes(field)
    bulges = _opened(field & ~lungs, _BULGE_MM / GRID_MM)
    if bulges.any():  # a ball leaves a rim where a large nodule touches the spine or the heart
        field |= (hu > _SOFT_HU[0]) & (edt.edt(~bulges) <= _BULGE_MM / GRID_MM)
    return field


def _closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """Closes with a ball of `radius` voxels. # [Z, Y, X]

    The mask is padded by its edge, so that a truncated lung keeps its shape.
    """
    if not mask.any():
        return mask
    margin = int(np.ceil(radius)) + 1
    padded = np.pad(mask, margin, mode="edge")
    box = lesions.padded(lesions.bounding_box(padded), [margin] * 3, padded.shape)
    grown = edt.edt(~padded[box]) <= radius
    padded[box] = edt.edt(grown) > radius
    return padded[(slice(margin, -margin),) * 3]


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """Fills what does not reach the edge of the array; faster than SciPy. # [Z, Y, X]"""
    around = lesions.components(~mask, connectivity=6)
    faces = [np.take(around, end, axis) for axis in range(3) for end in (0, -1)]
    is_outer = np.zeros(int(around.max()) + 1, bool)
    for face in faces:
        is_outer[face] = True
    return mask | ~is_outer[around]


def _masses(parts: Sequence[np.ndarray], hu: np.ndarray) -> np.ndarray:
    """Large masses at the chest wall. # [Z, Y, X] bool, on the coarser grid"""
    voxel_mm = GRID_MM * _COARSE
    middle = _middle(parts)
    if middle is None:
        return np.zeros(hu.shape, bool)
    between, field = np.zeros(hu.shape, bool), np.zeros(hu.shape, bool)
    for part in parts:
        lung = _without_holes(_closed(part, _NODULE_MM / voxel_mm))
        field |= lung
        between |= _between(lung, _TALL_MM / voxel_mm)
    between &= ~field
    between &= _beyond(np.logical_or.reduce(parts), middle) <= _RIM_MM / voxel_mm
    between[..., abs(np.arange(hu.shape[2]) - middle[1]) < _MIDLINE_MM / voxel_mm] = False
    core = _opened(between, _THICK_MM / voxel_mm)
    if not core.any():
        return core
    soft = _opened((hu > _SOFT_HU[0]) & (hu < _SOFT_HU[1]), 2.0)
    return core | (soft & (edt.edt(~core) <= _SHELL_MM / voxel_mm))


def _middle(parts: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The mediastinum in the plane, as voxels (y, x); None where a lung alone does not tell."""
    places = [np.argwhere(part) for part in parts]
    y = float(np.concatenate(places)[:, 1].mean())
    if len(parts) == 2:
        return y, float(np.mean([where[:, 2].mean() for where in places]))
    away = lung_sides.medial(parts[0])[2]
    if not away:
        return None
    x = places[0][:, 2]
    return y, float(x.max() if away > 0 else x.min())


def _between(lung: np.ndarray, height: float) -> np.ndarray:
    """Voxels on a line with lung above and below, at most `height` voxels apart. # [Z, Y, X]

    The lines run along the body or slope as the chest wall does.
    """
    box = lesions.bounding_box(lung)
    lines = np.zeros_like(lung)
    lines[box] = _between_in_box(lung[box], height)
    return lines


def _between_in_box(lung: np.ndarray, height: float) -> np.ndarray:
    margin = int(max(map(max, _SLOPES)) * len(lung)) + 1
    padded = np.pad(lung, ((0, 0), (margin, margin), (margin, margin)))
    z = np.arange(len(lung), dtype=np.int16)[:, None, None]
    far = np.int16(2**13)
    result = np.zeros_like(padded)
    for slope in _SLOPES:
        shifts = np.rint(np.outer(np.arange(len(lung)), slope)).astype(int)  # [Z, 2]
        upright = np.stack(
            [np.roll(plane, by, (0, 1)) for plane, by in zip(padded, shifts, strict=True)]
        )
        below = np.maximum.accumulate(np.where(upright, z, -far))
        above = np.minimum.accumulate(np.where(upright, z, far)[::-1])[::-1]
        for out, plane, by in zip(result, above - below <= height, shifts, strict=True):
            out |= np.roll(plane, -by, (0, 1))
    return result[:, margin:-margin, margin:-margin]


def _beyond(lungs: np.ndarray, middle: tuple[float, float]) -> np.ndarray:
    """Voxels of lung on the way from a voxel outwards, away from `middle`. # [Z, Y, X] int"""
    high, wide = lungs.shape[1:]
    y, x = np.mgrid[:high, :wide] - np.reshape(middle, (2, 1, 1))
    radius = np.rint(np.hypot(y, x)).astype(int)
    n = radius.max() + 1
    turns = int(np.ceil(2 * np.pi * n))  # no pixel is left out at the rim
    angle = np.rint(np.arctan2(y, x) / (2 * np.pi) * turns).astype(int) % turns
    phi = np.arange(turns)[:, None] * 2 * np.pi / turns
    rows = np.rint(middle[0] + np.arange(n) * np.sin(phi)).astype(int)  # [turns, n]
    columns = np.rint(middle[1] + np.arange(n) * np.cos(phi)).astype(int)
    inside = (rows >= 0) & (rows < high) & (columns >= 0) & (columns < wide)
    polar = lungs[:, rows.clip(0, high - 1), columns.clip(0, wide - 1)] & inside
    outwards = np.flip(np.cumsum(np.flip(polar, 2), axis=2, dtype=np.int16), 2)
    return outwards[:, angle, radius]


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    """Opens with a ball of `radius` voxels; outside the array is nothing. # [Z, Y, X]"""
    inner = edt.edt(mask, black_border=True) > radius
    return mask & (edt.edt(~inner) <= radius) if inner.any() else inner


def _finer(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolates the coarser grid, whose voxels are the even ones of the finer grid.

    Returns:
      float32 of `shape`.
    """
    for axis in range(3):
        array = np.repeat(array.astype(np.float32), _COARSE, axis)
        along = np.moveaxis(array, axis, 0)
        along[1:-1:2] = (along[1:-1:2] + along[2::2]) / 2
    return array[tuple(slice(n) for n in shape)]

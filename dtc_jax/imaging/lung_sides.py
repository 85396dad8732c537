"""The right and the left lung in a mask of the lungs."""

import dataclasses

import edt
import numpy as np
from scipy import ndimage, spatial

from dtc_jax.imaging import lesions
from dtc_jax.imaging.resample import onto, resample
from dtc_jax.imaging.volume import Volume

RIGHT, LEFT = 1, 2  # in the volumes of `sides`
_GRID_MM = 4.0  # coarse and therefore fast; the border between the lungs is interpolated
_EROSION_MM = (0, 4, 8, 12, 16, 20)  # by which bridges between the lungs are cut
_MIN_SHARE = 0.1  # of the larger lung: what is smaller is a piece of it, not the other lung
_MIN_APART = 0.7  # of the lungs' mean width: pieces of one lung lie above each other
_MIN_CONCAVE = 0.03  # of a lung's width, by which its concave side must be off its middle


def sides(field: Volume) -> Volume:
    """Which voxels of the lungs are the patient's right lung, and which the left.

    Two lungs are told apart by where they lie. A lung alone is told by its shape: the heart and the
    mediastinum make its medial side concave, while the side of the chest wall is convex.

    Args:
      field: bool, the lungs in world coordinates; see `lungs.lung_field`.

    Returns:
      uint8 on the grid of `field`: 1 right, 2 left, 0 outside the lungs and in a lung alone whose
      shape does not tell.
    """
    coarse = resample(Volume(field.array.astype(np.float32), field.affine), _GRID_MM)
    parts = split(coarse.array >= 0.5)
    labels = np.zeros(field.shape, np.uint8)
    if len(parts) == 2:
        first, second = (_world_x(part, coarse) for part in parts)
        nearer = Volume(nearer_first(*parts), coarse.affine)
        is_first = onto(nearer, field).array > 0
        labels[field.array] = np.where(is_first[field.array] == (first > second), RIGHT, LEFT)
    elif parts:
        away = coarse.affine[0, :3] @ medial(parts[0])
        if away:  # world x grows towards the patient's right
            labels[field.array] = LEFT if away > 0 else RIGHT
    return dataclasses.replace(field, array=labels)


def split(mask: np.ndarray) -> list[np.ndarray]:
    """The lungs of a mask on a grid of 4 mm: two, or one alone, or none. # [Z, Y, X] bool

    The mask is eroded until it falls into two pieces beside each other; every voxel then belongs to
    the nearer piece.
    """
    if not mask.any():
        return []
    depth = edt.edt(mask)
    for erosion_mm in _EROSION_MM:
        pieces = lesions.components(depth > erosion_mm / _GRID_MM, connectivity=6)
        sizes = np.bincount(pieces.ravel())[1:]
        large = 1 + np.flatnonzero(sizes > _MIN_SHARE * sizes.max(initial=0))
        if len(large) < 2:
            continue
        boxes = ndimage.find_objects(pieces)
        middles = np.array([np.mean(np.nonzero(pieces[boxes[k - 1]] == k)[2]) for k in large])
        middles += [boxes[k - 1][2].start for k in large]
        widths = [boxes[k - 1][2].stop - boxes[k - 1][2].start for k in large]
        ends = middles.argmin(), middles.argmax()
        if np.ptp(middles) < _MIN_APART * np.mean([widths[i] for i in ends]):
            continue
        is_low = middles < middles[list(ends)].mean()
        seeds = [np.isin(pieces, large[which]) for which in (is_low, ~is_low)]
        is_first = nearer_first(*seeds) > 0
        return [mask & is_first, mask & ~is_first]
    return [mask]


def medial(lung: np.ndarray) -> np.ndarray:
    """In-plane direction from a lung alone to its concave side. # [Z, Y, X] -> [3]

    Zero if that is not clearly beside the lung's middle.
    """
    box = lesions.bounding_box(lung)
    points = np.argwhere(lung[box])
    width = lung[box].shape[2]
    gaps = np.concatenate([_gap(plane) for plane in lung[box]])
    if not len(gaps):
        return np.zeros(3)
    away = np.insert(gaps.mean(axis=0) - points[:, 1:].mean(axis=0), 0, 0.0)
    return away if abs(away[2]) > _MIN_CONCAVE * width else np.zeros(3)


def _gap(plane: np.ndarray) -> np.ndarray:
    """Voxels of a slice inside a lung's convex hull but outside the lung. # [Y, X] -> [N, 2]"""
    points = np.argwhere(plane)
    if len(points) < 4 or min(np.ptp(points, axis=0)) < 2:
        return np.empty((0, 2))
    half_planes = spatial.ConvexHull(points, qhull_options="QJ").equations  # [M, 3]
    others = np.argwhere(~plane)
    inside = (others @ half_planes[:, :2].T + half_planes[:, 2] < -1e-6).all(axis=1)
    return others[inside]


def nearer_first(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """By how many voxels the first of two masks is nearer. # [Z, Y, X] float32"""
    return edt.edt(~second) - edt.edt(~first)


def _world_x(mask: np.ndarray, grid: Volume) -> float:
    return float(grid.world(np.argwhere(mask).mean(axis=0))[0])

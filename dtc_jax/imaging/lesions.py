"""Lesions in a volume: where they are, how large, cut out and pasted back."""

import dataclasses
import itertools
from typing import Literal

import cc3d
import numpy as np
from scipy import ndimage, spatial

from dtc_jax.errors import InputError
from dtc_jax.imaging.volume import Volume


@dataclasses.dataclass(frozen=True)
class Measures:
    """What is measured of a lesion on the scan's own grid.

    Attributes:
      center_mm: world coordinates of the middle of the mask's bounding box. # [3]
      diameter_mm: largest axial diameter: the largest distance within one slice of the mask
        (Feret), from voxel edge to voxel edge.
      volume_mm3: of the mask.
      box_mm: sides of the mask's bounding box along z, y, x. # [3]
      scan_box_mm: sides of the stored scan along z, y, x. # [3]
      mean_hu: inside the mask.
    """

    center_mm: np.ndarray
    diameter_mm: float
    volume_mm3: float
    box_mm: np.ndarray
    scan_box_mm: np.ndarray
    mean_hu: float


def components(mask: np.ndarray, connectivity: Literal[6, 18, 26] = 26) -> np.ndarray:
    """Numbers the connected components of a mask from 1. # [Z, Y, X] -> [Z, Y, X] uint"""
    return cc3d.connected_components(np.asarray(mask, np.uint8), connectivity=connectivity)


def measure(image: Volume, mask: Volume) -> Measures:
    """Measures the lesion `mask` (bool, not empty) on the scan `image` of the same grid."""
    box = bounding_box(mask.array)
    inside = mask.array[box]
    spacing = mask.spacing_mm
    return Measures(
        center_mm=box_center_mm(mask),
        diameter_mm=max(
            _feret_mm(plane, (float(spacing[1]), float(spacing[2])))
            for plane in inside
            if plane.any()
        ),
        volume_mm3=float(inside.sum() * np.prod(spacing)),
        box_mm=np.array(inside.shape) * spacing,
        scan_box_mm=np.array(image.shape) * spacing,
        mean_hu=float(image.array[box][inside].mean()),
    )


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around a mask that is not empty."""
    sides: list[slice] = []
    for others in ((1, 2), (0, 2), (0, 1)):  # each axis is searched within the sides before it
        hit = np.flatnonzero(mask[tuple(sides)].any(axis=others))
        sides.append(slice(int(hit[0]), int(hit[-1]) + 1))
    depth, height, width = sides
    return depth, height, width


def box_center_mm(mask: Volume) -> np.ndarray:
    """World coordinates of the middle of the mask's bounding box. # [3]"""
    return mask.world([(side.start + side.stop - 1) / 2 for side in bounding_box(mask.array)])


def _feret_mm(plane: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """Largest distance between the corners of the pixels of a 2-D mask. # [Y, X]"""
    rows = np.flatnonzero(plane.any(axis=1))
    first = plane[rows].argmax(axis=1)
    last = plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)])
    corners = (ends[:, None] + np.array(list(itertools.product((-0.5, 0.5), repeat=2)))).reshape(
        -1, 2
    ) * spacing_mm
    hull = corners[spatial.ConvexHull(corners).vertices]
    return float(spatial.distance.pdist(hull).max())


def cut(
    volume: Volume,
    center_mm: np.ndarray,
    size: tuple[int, int, int],
    spacing_mm: float = 1.0,
    kind: Literal["image", "mask"] = "image",
    fill: float | Literal["edge"] = "edge",
) -> tuple[Volume, np.ndarray]:
    """Samples a crop about a world point along the volume's own axes.

    Args:
      volume: a scan or a mask.
      center_mm: world point that comes to lie at index (size - 1) / 2. # [3]
      size: voxels of the crop along z, y, x.
      spacing_mm: of the crop's grid.
      kind: 'image' is interpolated linearly; 'mask' is too, and cut at one half.
      fill: value outside the scan; 'edge' goes on with its outermost voxels. A mask has nothing
        outside.

    Returns:
      The crop [D, H, W] (float32, or bool for a mask), and its extent [3, 2]: the range
      [start, stop) of crop indices along each axis that lie inside the scan.

    Raises:
      InputError: the crop does not meet the scan.
    """
    step = spacing_mm / volume.spacing_mm  # source voxels a crop voxel  # [3]
    origin = volume.index(center_mm) - (np.array(size) - 1) / 2 * step  # [3]
    extent, region, offset = [], [], []
    for axis in range(3):
        position = origin[axis] + step[axis] * np.arange(size[axis])
        last = volume.shape[axis] - 1
        # Half a voxel of tolerance: a voxel reaches half its side beyond its centre.
        inside = np.flatnonzero((position >= -0.5) & (position <= last + 0.5))
        if not len(inside):
            raise InputError(
                "the lesion lies outside the scan: its centre is at voxel "
                f"{np.round(volume.index(center_mm), 1).tolist()} (z, y, x) of {volume.shape}."
            )
        extent.append((inside[0], inside[-1] + 1))
        start = int(np.clip(np.floor(position[0]) - 1, 0, last))
        region.append(slice(start, int(np.clip(np.ceil(position[-1]) + 2, 1, last + 1))))
        offset.append(origin[axis] - start)
    if kind == "mask":
        mode, value = "grid-constant", 0.0
    else:
        mode, value = ("nearest", 0.0) if fill == "edge" else ("constant", float(fill))
    sampled = ndimage.affine_transform(
        volume.array[tuple(region)].astype(np.float32),
        step,
        offset,
        output_shape=size,
        order=1,
        mode=mode,
        cval=value,
    )
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * step
    affine[:3, 3] = volume.world(origin)
    array = sampled >= 0.5 if kind == "mask" else sampled
    return Volume(array, affine), np.array(extent, np.int32)


def paste(crop: Volume, into: Volume, kind: Literal["image", "mask"] = "image") -> Volume:
    """The inverse of `cut`: `into` with the voxels that `crop` covers sampled from it.

    Args:
      crop: along the axes of `into`, on any grid.
      into: the volume whose grid and other voxels are kept.
      kind: as in `cut`.
    """
    step = into.spacing_mm / crop.spacing_mm  # crop voxels a voxel of `into`  # [3]
    origin = crop.index(into.world(np.zeros(3)))  # of voxel 0 of `into` in the crop  # [3]
    region = []
    for axis in range(3):
        position = origin[axis] + step[axis] * np.arange(into.shape[axis])
        inside = np.flatnonzero((position >= -1e-4) & (position <= crop.shape[axis] - 1 + 1e-4))
        if not len(inside):
            return into
        region.append(slice(inside[0], inside[-1] + 1))
    start = np.array([side.start for side in region])
    sampled = ndimage.affine_transform(
        crop.array.astype(np.float32),
        step,
        origin + step * start,
        output_shape=tuple(side.stop - side.start for side in region),
        order=1,
        mode="nearest",
    )
    array = into.array.copy()
    array[tuple(region)] = sampled >= 0.5 if kind == "mask" else sampled.astype(array.dtype)
    return dataclasses.replace(into, array=array)

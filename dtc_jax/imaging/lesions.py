"""Lesions in a volume: position, size, crops and their inverse."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal

import cc3d
import numpy as np
from scipy import ndimage, spatial

from dtc_jax.errors import InputError
from dtc_jax.imaging.volume import Volume

MOST = 2**16 - 1  # the largest number of a lesion in a mask
Region = tuple[tuple[slice, ...], np.ndarray]  # a box and the voxels of a lesion in it, bool
_ROUNDING = 1e-4  # of a voxel: tolerance for arithmetic on world coordinates


@dataclasses.dataclass(frozen=True)
class Measures:
    """The measures of a lesion on the grid of the scan.

    Attributes:
      center_mm: world coordinates of the middle of the mask's bounding box. # [3]
      diameter_mm: largest axial diameter, the long axis of `axial_axes_mm`.
      short_axis_mm: across it, in the same slice.
      volume_mm3: of the mask.
      box_mm: sides of the mask's bounding box along z, y, x. # [3]
      scan_box_mm: sides of the stored scan along z, y, x. # [3]
      mean_hu: inside the mask.
    """

    center_mm: np.ndarray
    diameter_mm: float
    short_axis_mm: float
    volume_mm3: float
    box_mm: np.ndarray
    scan_box_mm: np.ndarray
    mean_hu: float


def components(mask: np.ndarray, connectivity: Literal[6, 18, 26] = 26) -> np.ndarray:
    """Numbers the connected components of a mask from 1. # [Z, Y, X] -> [Z, Y, X] uint

    Args:
      mask: nonzero voxels belong to a component.
      connectivity: neighbours of a voxel: across faces, edges too, corners too.
    """
    return cc3d.connected_components(np.asarray(mask, np.uint8), connectivity=connectivity)


def together(regions: Sequence[Region], shape: Sequence[int]) -> np.ndarray:
    """One instance mask of regions, numbered from 1 in their order. # uint16 [Z, Y, X]

    A voxel of several belongs to the smallest of them, so that none vanishes in a larger one, and
    their order does not decide which one is cut.

    Args:
      regions: the box of each and its voxels, bool [d, h, w].
      shape: of the mask.
    """
    array = np.zeros(shape, np.uint16)
    sizes = [region.sum() for _, region in regions]
    for i in np.argsort(sizes, kind="stable")[::-1]:
        box, region = regions[i]
        array[box][region] = i + 1
    return array


def numbered(mask: np.ndarray) -> list[tuple[int, tuple[slice, ...]]]:
    """The numbers of an instance mask in ascending order, with the bounding box of each."""
    boxes = ndimage.find_objects(mask.astype(np.int32, copy=False))
    return [(number, box) for number, box in enumerate(boxes, start=1) if box is not None]


def padded(
    box: tuple[slice, ...], margin: Sequence[int] | np.ndarray, shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """`box` with `margin` more voxels on both sides of each axis, clipped to the volume."""
    return tuple(
        slice(max(0, side.start - int(more)), min(n, side.stop + int(more)))
        for side, more, n in zip(box, margin, shape, strict=True)
    )


def measure(image: Volume, mask: Volume) -> Measures:
    """Measures the lesion `mask` (bool, not empty) on the scan `image` of the same grid."""
    box = bounding_box(mask.array)
    inside = mask.array[box]
    spacing = mask.spacing_mm
    long_mm, short_mm = axial_axes_mm(inside, spacing)
    return Measures(
        center_mm=box_center_mm(mask),
        diameter_mm=long_mm,
        short_axis_mm=short_mm,
        volume_mm3=float(inside.sum() * np.prod(spacing)),
        box_mm=np.array(inside.shape) * spacing,
        scan_box_mm=np.array(image.shape) * spacing,
        mean_hu=float(image.array[box][inside].mean()),
    )


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around a nonempty mask."""
    sides: list[slice] = []
    for others in ((1, 2), (0, 2), (0, 1)):  # each axis is searched within the previous sides
        occupied = np.flatnonzero(mask[tuple(sides)].any(axis=others))
        sides.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    depth, height, width = sides
    return depth, height, width


def box_center_mm(mask: Volume) -> np.ndarray:
    """World coordinates of the middle of the mask's bounding box. # [3]"""
    return middle_mm(mask, bounding_box(mask.array))


def middle_mm(volume: Volume, box: tuple[slice, ...]) -> np.ndarray:
    """World coordinates of the middle of a box of voxels. # [3]

    Args:
      volume: gives the affine.
      box: indices along z, y, x.
    """
    return volume.world([(side.start + side.stop - 1) / 2 for side in box])


def box_voxels(volume: Volume, box_mm: np.ndarray) -> tuple[slice, ...]:
    """The voxels whose middle may lie in a box of the world, at least one along each axis.

    Args:
      volume: the box is cut off where it ends.
      box_mm: ends by axis x, y, z. # [3, 2]

    Raises:
      InputError: its middle is not in the volume.
    """
    middle = volume.index(box_mm.mean(axis=1))
    if (middle < -0.5).any() or (middle > np.array(volume.shape) - 0.5).any():
        raise InputError(
            "the middle of box_mm is not in the scan; give x0 x1 y0 y1 z0 z1 in mm, in RAS world "
            "coordinates (those of DICOM have the other sign in x and y)."
        )
    corners = np.array(np.meshgrid(*box_mm, indexing="ij")).reshape(3, -1).T  # [8, 3]
    index = np.array([volume.index(corner) for corner in corners])
    last = np.array(volume.shape) - 1
    first = np.clip(np.ceil(index.min(axis=0)), 0, last).astype(int)
    stop = np.clip(np.floor(index.max(axis=0)), first, last).astype(int) + 1
    return tuple(slice(a, b) for a, b in zip(first.tolist(), stop.tolist(), strict=True))


def axial_diameter_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> float:
    """The long axis of `axial_axes_mm`."""
    return axial_axes_mm(mask, spacing_mm)[0]


def axial_axes_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> tuple[float, float]:
    """Long and short axis of a lesion in the axial plane, as a radiologist measures it.

    The long axis is the largest distance within one slice (Feret), from voxel edge to voxel edge;
    the short axis is the largest one at right angles to it in the same slice. These are the
    diameters of RECIST 1.1 (Eisenhauer et al. 2009). Both are taken of the convex hull, so a dent
    does not shorten them.

    Args:
      mask: [Z, Y, X] bool, not empty.
      spacing_mm: along z, y, x. # [3]
    """
    return max(_axes_mm(plane, spacing_mm[1:]) for plane in mask if plane.any())


def _axes_mm(plane: np.ndarray, spacing_mm: np.ndarray) -> tuple[float, float]:
    """The axes of a 2-D mask that is not empty. # [Y, X]"""
    rows = np.flatnonzero(plane.any(axis=1))
    first = plane[rows].argmax(axis=1)
    last = plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)])  # [N, 2]
    steps = np.array(list(itertools.product((-0.5, 0.5), repeat=2)))  # [4, 2]
    corners = (ends[:, None] + steps[None]).reshape(-1, 2) * spacing_mm[None]  # [4 N, 2]
    hull = corners[spatial.ConvexHull(corners).vertices]  # counterclockwise  # [M, 2]
    distances = spatial.distance.squareform(spatial.distance.pdist(hull))
    start, stop = np.unravel_index(distances.argmax(), distances.shape)
    long_mm = distances[start, stop]
    y, x = (hull[stop] - hull[start]) / long_mm
    turned = hull @ np.array([[y, -x], [x, y]])  # along the long axis, and across it  # [M, 2]
    ring = np.roll(turned, -start, axis=0)
    there, back = ring[: stop - start + 1], np.append(ring[stop - start :], ring[:1], axis=0)[::-1]
    # Both sides of the hull run from one end to the other, and it is widest at one of its corners.
    widths = [np.interp(turned[:, 0], *side.T) for side in (there, back)]
    return float(long_mm), float(np.abs(widths[1] - widths[0]).max())


def cut(
    volume: Volume,
    center_mm: np.ndarray,
    size: tuple[int, int, int],
    spacing_mm: float | np.ndarray = 1.0,
    kind: Literal["image", "mask"] = "image",
    fill: float | Literal["edge"] = "edge",
) -> tuple[Volume, np.ndarray]:
    """Samples a crop around a world point along the axes of the volume.

    Args:
      volume: a scan or a mask.
      center_mm: world point at index (size - 1) / 2 of the crop. # [3]
      size: voxels of the crop along z, y, x.
      spacing_mm: of the crop's grid; one for all axes, or along z, y, x.
      kind: 'image' is interpolated linearly; 'mask' likewise, then thresholded at one half.
      fill: value outside the scan; 'edge' repeats its outermost voxels. A mask is empty outside.
        A voxel extends half its side beyond its centre.

    Returns:
      The crop [D, H, W] (float32, or bool for a mask), and its extent [3, 2]: the range
      [start, stop) of crop indices along each axis inside the scan.

    Raises:
      InputError: the point is outside the scan.
    """
    shape = np.array(volume.shape)
    center = volume.index(center_mm)
    if not np.all((center >= -0.5 - _ROUNDING) & (center <= shape - 0.5 + _ROUNDING)):  # or NaN
        raise InputError(
            f"the lesion is outside the scan: its centre is at voxel {center.round(1).tolist()} "
            f"(z, y, x) of {volume.shape}; check that its mask or coordinates belong to it."
        )
    step = spacing_mm / volume.spacing_mm  # source voxels per crop voxel  # [3]
    origin = center - (np.array(size) - 1) / 2 * step  # of the crop, in the source  # [3]
    extent = np.stack(
        [
            np.ceil((-0.5 - _ROUNDING - origin) / step),
            np.floor((shape - 0.5 + _ROUNDING - origin) / step) + 1,
        ],
        axis=1,
    )
    extent = np.clip(extent, 0, np.array(size)[:, None]).astype(np.int32)
    # Only the block of source voxels that the crop covers is converted and sampled.
    first = np.clip(np.floor(origin) - 1, 0, shape - 1).astype(int)
    last = np.clip(np.ceil(origin + (np.array(size) - 1) * step) + 1, 0, shape - 1).astype(int)
    block = volume.array[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))]
    sampled = ndimage.affine_transform(
        block.astype(np.float32),
        step,
        origin - first,
        output_shape=tuple(size),
        order=1,
        mode="grid-constant" if kind == "mask" else "nearest",
    )
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * step
    affine[:3, 3] = volume.world(origin)
    if kind == "mask":
        return Volume(sampled >= 0.5 - _ROUNDING, affine), extent
    if fill != "edge":
        outside = np.ones(sampled.shape, bool)
        outside[tuple(slice(start, stop) for start, stop in extent)] = False
        sampled[outside] = fill
    return Volume(sampled, affine), extent


def paste(crop: Volume, into: Volume, kind: Literal["image", "mask"] = "image") -> Volume:
    """The inverse of `cut`: `into`, with the voxels whose centres `crop` covers sampled from it.

    Args:
      crop: along the axes of `into`, on any grid.
      into: the volume whose grid, dtype and other voxels are kept.
      kind: as in `cut`.
    """
    step = into.spacing_mm / crop.spacing_mm  # crop voxels per voxel of `into`  # [3]
    origin = crop.index(into.world(np.zeros(3)))  # of voxel 0 of `into`, in the crop  # [3]
    last = (np.array(crop.shape) - 1 - origin + _ROUNDING) / step
    start = np.clip(np.ceil((-origin - _ROUNDING) / step), 0, into.shape).astype(int)
    stop = np.clip(np.floor(last) + 1, start, into.shape).astype(int)
    sampled = ndimage.affine_transform(
        crop.array.astype(np.float32),
        step,
        origin + step * start,
        output_shape=tuple(stop - start),
        order=1,
        mode="nearest",
    )
    if kind == "mask":
        sampled = sampled >= 0.5 - _ROUNDING
    elif into.array.dtype.kind in "iu":
        sampled = np.rint(sampled)
    array = into.array.copy()
    array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = sampled
    return dataclasses.replace(into, array=array)

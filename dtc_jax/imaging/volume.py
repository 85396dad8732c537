"""Scans and masks on disk as arrays in (z, y, x) with world coordinates."""

import dataclasses
import gzip
from collections.abc import Sequence

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import formats

_AFFINE_TOLERANCE_MM = 1e-2  # headers store float32, and tools round them differently
_ROUNDED_MM = 0.1  # programs lay different grids through DICOM positions that a scanner has rounded
_ROUNDED_SHARE = 0.2  # of the finest side of a voxel, at most
_LABEL_TOLERANCE = 1e-3  # of a label that was stored with a slope
_SOFT_EDGE = 0.5  # a soft mask is inside from here on
_FEWEST_SHADES = 10  # a numbered mask of fewer is not looked at


@dataclasses.dataclass(frozen=True)
class Volume:
    """A 3-D array and the positions of its voxels.

    Attributes:
      array: [Z, Y, X]; HU for a CT, bool or labels for a mask.
      affine: [4, 4]; maps a voxel index (z, y, x, 1) to RAS world coordinates in mm.
      axes: orientation of the axes (x, y, z) of the source file, in nibabel's letters; a mask to
        be overlaid voxel by voxel is written in the same orientation.
      notes: what a user should know of how it was read; nothing in them identifies a patient.
    """

    array: np.ndarray
    affine: np.ndarray
    axes: str = "RAS"
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.array.shape

    @property
    def spacing_mm(self) -> np.ndarray:
        """Distance of neighbouring voxels along z, y, x. # [3]"""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def world(self, index: npt.ArrayLike) -> np.ndarray:
        """World coordinates in mm of voxel indices (z, y, x). # [..., 3] -> [..., 3]"""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index(self, world: npt.ArrayLike) -> np.ndarray:
        """Fractional voxel indices (z, y, x) of world coordinates in mm. # [..., 3] -> [..., 3]"""
        return (np.asarray(world, float) - self.affine[:3, 3]) @ np.linalg.inv(
            self.affine[:3, :3]
        ).T

    def part(self, box: tuple[slice, ...]) -> "Volume":
        """The voxels in `box` (slices with a start, along z, y, x), at their world coordinates."""
        affine = self.affine.copy()
        affine[:3, 3] = self.world([side.start for side in box])
        return Volume(self.array[box], affine)


def read_image(path: storage.PathLike, series: int | str | None = None) -> Volume:
    """Reads an image in any orientation into the axes closest to (z, y, x) of RAS.

    Whether it is a CT in HU is for `ct.read` to say.

    Args:
      path: NIfTI, NRRD or MHA, or a folder of DICOM files.
      series: of a DICOM folder; default: the largest axial series; see `dicom.find`.

    Returns:
      The slope and intercept of the header are applied: int16 if that loses nothing, else float32.

    Raises:
      InputError: the scan is missing, damaged, not 3-D, has no valid geometry or contains NaN.
    """
    volume = _read(path, series)
    return dataclasses.replace(volume, array=compact(volume.array))


def compact(array: np.ndarray) -> np.ndarray:
    """As int16 if that loses nothing, else as float32."""
    if array.dtype == np.int16:
        return array
    fits = array.min() >= -(2**15) and array.max() < 2**15
    is_whole = array.dtype.kind != "f" or np.array_equal(np.rint(array), array)
    return array.astype(np.int16 if fits and is_whole else np.float32)


def read_mask(
    path: storage.PathLike,
    like: Volume,
    label: int | None = None,
    advice: str = "segment the lesion, or delete its row",
) -> Volume:
    """Reads the mask of one lesion on the grid of the scan `like`.

    Args:
      path: NIfTI, NRRD or MHA; whole numbers, or a soft mask of 0 to 1 whose edge is at 0.5.
      like: the scan, as read by `read_image`.
      label: number of the lesion in an instance mask; None: all nonzero voxels.
      advice: what to do if the mask is empty, for the message.

    Returns:
      A volume of bool; its notes say where several numbers count as one.

    Raises:
      InputError: as `read_image`; or the mask is on another grid, is empty or has other fractions.
    """
    array = read_numbers(path, like)
    mask = array != 0 if label is None else array == label
    if not mask.any():
        raise _empty(path, label, advice)
    count = len(np.unique(array[mask])) if label is None else 1
    notes = (f"the mask has {count} numbers, which are taken for one region.",) * (count > 1)
    return Volume(mask, like.affine, notes=notes)


def read_regions(
    path: storage.PathLike, like: Volume, labels: Sequence[int | None]
) -> list[tuple[tuple[slice, ...], np.ndarray]]:
    """Reads several lesions of one mask, in a single pass.

    Args:
      path: see `read_mask`.
      like: see `read_mask`.
      labels: the number of each lesion, see `read_mask`.

    Returns:
      For each of `labels` the bounding box of the lesion, and its mask in that box (bool).

    Raises:
      InputError: see `read_mask`.
    """
    numbers = read_numbers(path, like)
    # At most the highest number in the mask: the list of boxes has that length.
    highest = min(max((n for n in labels if n is not None), default=0), int(numbers.max()))
    boxes = ndimage.find_objects(numbers, max_label=highest) if highest > 0 else []
    nonzero = ndimage.find_objects(numbers != 0, max_label=1) if None in labels else []
    regions = []
    for label in labels:
        candidates, number = (nonzero, 1) if label is None else (boxes, label)
        box = candidates[number - 1] if number <= len(candidates) else None
        if box is None:
            raise _empty(path, label)
        regions.append((box, numbers[box] != 0 if label is None else numbers[box] == label))
    return regions


def read_numbers(path: storage.PathLike, like: Volume) -> np.ndarray:
    """The numbers of a mask on the grid of `like`, which are whole. # [D, H, W]

    Args:
      path: see `read_mask`.
      like: see `read_mask`.

    Raises:
      InputError: see `read_mask`; an empty mask is none.
    """
    mask = _read(path)
    check_same_grid(path, mask, like)
    return whole_numbers(path, mask.array)


def read_region(path: storage.PathLike, like: Volume) -> Volume:
    """What a mask marks, whatever its numbers, bool on the grid of `like`; it may be nothing.

    Args:
      path: see `read_mask`.
      like: see `read_mask`.

    Raises:
      InputError: see `read_numbers`.
    """
    return Volume(read_numbers(path, like) != 0, like.affine)


def whole_numbers(path: storage.PathLike, array: np.ndarray) -> np.ndarray:
    """The whole numbers that a mask means.

    A slope and intercept, or the noise of a resampling, may make labels fractional. A soft mask of
    0 to 1 is one lesion, which reaches to where the mask falls to a half.

    Raises:
      InputError: it has negative numbers, other fractions, or shades; `path` names it.
    """
    numbers = _whole(path, array)
    if numbers.min() < 0:
        raise InputError(f"{path}: contains negative numbers, so it is a scan, not a mask.")
    highest = numbers.max()
    if highest >= _FEWEST_SHADES and _is_shaded(numbers, highest):
        raise InputError(
            f"{path}: contains numbers up to {highest:g} that change from voxel to voxel, so they "
            "are the shades of a soft mask and number no lesions; cut it at a half, and export 1 "
            "inside the lesion and 0 outside."
        )
    return numbers


def _is_shaded(numbers: np.ndarray, highest: float) -> bool:
    """Whether most neighbours along x, within what is not 0, differ but where both are highest."""
    left, right = numbers[..., :-1], numbers[..., 1:]
    pairs = (left > 0) & (right > 0) & ((left < highest) | (right < highest))
    return bool(pairs.any() and (left[pairs] != right[pairs]).mean() > 0.5)


def _whole(path: storage.PathLike, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    numbers = np.rint(array)
    if np.abs(array - numbers).max() <= _LABEL_TOLERANCE:
        return numbers
    if array.min() < -_LABEL_TOLERANCE or array.max() > 1 + _LABEL_TOLERANCE:
        raise InputError(
            f"{path}: contains fractions from {array.min():g} to {array.max():g}, so it is no "
            "mask; export whole numbers (resample labels by the nearest neighbour), or a soft "
            "mask from 0 to 1."
        )
    return (array >= _SOFT_EDGE).astype(np.float32)


def _empty(
    path: storage.PathLike, label: int | None, advice: str = "segment the lesion, or delete its row"
) -> InputError:
    what = f"has no voxel of label {label}" if label is not None else "is empty"
    numbered = "check its mask_label, " if label is not None else ""
    return InputError(f"{path}: the mask {what}; {numbered}{advice}.")


def check_same_grid(path: storage.PathLike, mask: Volume, like: Volume) -> None:
    """Raises an `InputError` that names `path` unless the voxels of both coincide."""
    if mask.shape != like.shape:
        raise InputError(
            f"{path}: the mask has {mask.shape} voxels (z, y, x), its scan has {like.shape}; "
            "export the mask on the grid of the scan."
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in like.shape])).reshape(3, -1).T
    offset_mm = np.abs(mask.world(corners) - like.world(corners)).max()
    side_mm = like.spacing_mm.min()
    rounded_mm = min(_ROUNDED_MM, _ROUNDED_SHARE * side_mm)
    if offset_mm > max(_AFFINE_TOLERANCE_MM, 0.05 * side_mm, rounded_mm):
        raise InputError(
            f"{path}: the mask is {offset_mm:.2f} mm away from its scan (their affines differ); "
            "export the mask on the grid of the scan."
        )


def write(
    path: storage.PathLike, volume: Volume, *, axes: str | None = None, compresslevel: int = 1
) -> None:
    """Writes `volume` as NIfTI, atomically; its world coordinates are preserved.

    Args:
      path: .nii or .nii.gz.
      volume: along any axes.
      axes: orientation of the stored voxels, see `Volume`; None: that of the array.
      compresslevel: of .nii.gz, 1 to 9.
    """
    image = as_nibabel(volume, axes)
    with storage.atomic(path) as partial:
        if partial.name.endswith(".gz"):
            with gzip.GzipFile(partial, "wb", compresslevel=compresslevel, mtime=0) as file:
                file.write(image.to_bytes())
        else:
            partial.write_bytes(image.to_bytes())


def as_nibabel(volume: Volume, axes: str | None = None) -> nib.Nifti1Image:
    """`volume` as an image of nibabel; its world coordinates are preserved; see `write`."""
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    affine = np.eye(4)
    affine[:3] = volume.affine[:3, [2, 1, 0, 3]]  # columns (z, y, x) to nibabel's (x, y, z)
    image = nib.Nifti1Image(array.T, affine)
    if axes is not None:
        target = nib.orientations.axcodes2ornt(axes)
        transform = nib.orientations.ornt_transform(nib.io_orientation(affine), target)
        image = image.as_reoriented(transform)
    image.header.set_xyzt_units("mm")
    return image


def of_axes(array: np.ndarray, affine: np.ndarray, axes: str) -> Volume:
    """A volume of what `formats` gives: [X, Y, Z] with its affine and orientation."""
    turned = np.eye(4)
    turned[:3] = affine[:3, [2, 1, 0, 3]]  # columns (x, y, z) to (z, y, x)
    return Volume(array.T, turned, axes)


def _read(path: storage.PathLike, series: int | str | None = None) -> Volume:
    return of_axes(*formats.load(path, series))

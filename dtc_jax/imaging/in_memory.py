"""Scans and masks that a program has in memory: NumPy arrays, and images of nibabel."""

import dataclasses
from collections.abc import Sequence

import nibabel as nib
import numpy as np

from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import ct, formats, nifti, volume
from dtc_jax.imaging.lesions import MOST
from dtc_jax.imaging.volume import Volume

Image = np.ndarray | nib.spatialimages.SpatialImage | Volume


def read_ct(image: Image, spacing_mm: Sequence[float] | None = None) -> Volume:
    """A CT in HU, checked as one from a file is.

    Args:
      image: an array [Z, Y, X], whose indices rise to the head, to the front and to the patient's
        right hand (as RAS+ has them); an image of nibabel in any orientation; or a `Volume`.
      spacing_mm: of an array: distance of neighbouring voxels along z, y, x.

    Raises:
      InputError: it cannot be a CT in HU, see `ct.read`; or the header of a NIfTI image is one that
        is refused in a file as well.
      UsageError: it is of another kind or rank, or an array without its spacing.
    """
    scan = _read("the scan", image, spacing_mm)
    return ct.checked("the scan", dataclasses.replace(scan, array=volume.compact(scan.array)))


def read_mask(name: str, mask: Image, like: Volume) -> Volume:
    """A mask on the grid of a scan.

    Args:
      name: in a message.
      mask: whole numbers or bool, 0 outside; see `read_ct`. An array lies on the scan's grid.
      like: the scan.

    Raises:
      InputError: it has negative numbers or fractions, or is on another grid.
      UsageError: it is of another kind.
    """
    found = _read(name, mask, tuple(like.spacing_mm))
    if isinstance(mask, np.ndarray):
        found = Volume(found.array, like.affine)
    volume.check_same_grid(name, found, like)
    return Volume(volume.whole_numbers(name, found.array), like.affine)


def read_lesions(name: str, mask: Image, like: Volume) -> Volume:
    """A mask of numbered lesions on the grid of a scan, uint16; see `read_mask`.

    Raises:
      InputError: as `read_mask`; or it is empty, or has numbers above 65535.
    """
    numbers = read_mask(name, mask, like)
    if not numbers.array.any():
        raise InputError(f"{name} is empty; set at least one voxel.")
    if numbers.array.max() > MOST:
        raise InputError(f"{name} has numbers above {MOST}; number the lesions from 1.")
    return Volume(numbers.array.astype(np.uint16), like.affine)


def refuse_mixture(name: str, mask: Image, scan: Image) -> None:
    """An array beside an image of nibabel: nothing says in which orientation it is.

    Raises:
      UsageError: the two are a mixture.
    """
    if isinstance(mask, np.ndarray) and isinstance(scan, nib.spatialimages.SpatialImage):
        raise UsageError(
            f"{name}: is an array and the scan an image; give both as arrays or both as images."
        )


def given_back(made: Volume, like: Image, axes: str) -> Image:
    """`made` as what was given: an array, an image of nibabel in the same orientation, a Volume.

    Args:
      made: any volume.
      like: what was given.
      axes: of the scan.

    Returns:
      `made`, of the kind of `like`; turned back to `axes` if that is an image of nibabel.
    """
    if isinstance(like, np.ndarray):
        return made.array
    return made if isinstance(like, Volume) else volume.as_nibabel(made, axes)


def _read(name: str, image: Image, spacing_mm: Sequence[float] | None) -> Volume:
    if isinstance(image, Volume):
        return image
    if isinstance(image, nib.spatialimages.SpatialImage):
        array, affine = np.asanyarray(image.dataobj), _affine(name, image)
    elif isinstance(image, np.ndarray):
        array, affine = image.T, np.diag([*reversed(_checked_spacing(name, spacing_mm)), 1.0])
    else:
        raise UsageError(
            f"{name}: is a {type(image).__name__}; give an array [Z, Y, X] or an image of nibabel."
        )
    if array.ndim != 3 or not array.size:
        raise UsageError(f"{name}: has the shape {array.shape}; three axes with voxels are needed.")
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name}: has values of type {array.dtype}; give numbers, such as int16.")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    return volume.of_axes(*formats.canonical(name, array, affine))


def _affine(name: str, image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """In mm; of a NIfTI image by the rules for a file. # [4, 4]"""
    if isinstance(image, nib.Nifti1Pair):
        return nifti.checked_geometry(name, nifti.as_saved(image.header, image.affine))
    if image.affine is None:
        raise UsageError(f"{name}: is an image without an affine; give it one.")
    return image.affine


def _checked_spacing(name: str, spacing_mm: Sequence[float] | None) -> list[float]:
    """Along z, y, x, in mm."""
    if spacing_mm is None or np.shape(spacing_mm) != (3,):
        raise UsageError(f"{name}: is an array; give spacing_mm=(z, y, x) with it.")
    try:
        sides = [float(side) for side in spacing_mm]
    except (TypeError, ValueError):
        sides = []
    if not sides or not all(0 < side < np.inf for side in sides):
        raise UsageError(
            f"{name}: spacing_mm is {tuple(spacing_mm)}; give three distances above 0 in mm. Turn "
            "an axis that runs the other way in the array."
        )
    return sides

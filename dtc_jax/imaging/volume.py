"""Scans and masks on disk as arrays in (z, y, x) with their place in the world."""

import dataclasses
import gzip
import os
import zlib

import nibabel as nib
import numpy as np

from dtc_jax import storage
from dtc_jax.errors import InputError

_SUFFIXES = (".nii", ".nii.gz")
_AFFINE_TOLERANCE_MM = 1e-2  # headers store float32, and tools round them differently


@dataclasses.dataclass(frozen=True)
class Volume:
    """A 3-D array and where its voxels lie.

    Attributes:
      array: [Z, Y, X]; HU for a CT, bool or labels for a mask.
      affine: [4, 4]; maps a voxel index (z, y, x, 1) to RAS world coordinates in mm.
    """

    array: np.ndarray
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.array.shape

    @property
    def spacing_mm(self) -> np.ndarray:
        """Distance of neighbouring voxels along z, y, x. # [3]"""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def world(self, index: np.ndarray) -> np.ndarray:
        """World coordinates in mm of voxel indices (z, y, x). # [..., 3] -> [..., 3]"""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index(self, world: np.ndarray) -> np.ndarray:
        """Fractional voxel indices (z, y, x) of world coordinates in mm. # [..., 3] -> [..., 3]"""
        return (np.asarray(world, float) - self.affine[:3, 3]) @ np.linalg.inv(
            self.affine[:3, :3]
        ).T


def read_image(path: storage.PathLike) -> Volume:
    """Reads a CT from NIfTI, in any orientation, into the axes closest to (z, y, x) of RAS.

    Returns:
      HU with the header's slope and intercept applied: int16 where they are whole, else float32.

    Raises:
      InputError: the file is missing, damaged, not 3-D, has no valid geometry or holds NaN.
    """
    volume = _read(path)
    array = volume.array
    if not np.isfinite(array).all():
        raise InputError(
            f"{path}: holds {np.count_nonzero(~np.isfinite(array))} voxels that are NaN or infinite; "
            "convert the scan again, or set them to the HU of air (-1000)."
        )
    if array.dtype != np.int16:
        whole = np.rint(array)
        fits = np.abs(array).max(initial=0) < 2**15 and np.array_equal(whole, array)
        array = array.astype(np.int16 if fits else np.float32)
    return dataclasses.replace(volume, array=array)


def read_mask(path: storage.PathLike, like: Volume, label: int | None = None) -> Volume:
    """Reads the mask of one lesion that lies on the grid of the scan `like`.

    Args:
      path: NIfTI.
      like: the scan, as read by `read_image`.
      label: the lesion's number in an instance mask; None for all that is not zero.

    Returns:
      A volume of bool.

    Raises:
      InputError: as `read_image`; or the mask lies on another grid, or is empty.
    """
    volume = _read(path)
    if volume.shape != like.shape:
        raise InputError(
            f"{path}: the mask has {volume.shape} voxels (z, y, x), its scan {like.shape}; export "
            "the mask on the scan's own grid."
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in like.shape])).reshape(3, -1).T
    apart_mm = np.abs(volume.world(corners) - like.world(corners)).max()
    if apart_mm > max(_AFFINE_TOLERANCE_MM, 0.05 * like.spacing_mm.min()):
        raise InputError(
            f"{path}: the mask lies {apart_mm:.2f} mm away from its scan (their affines differ); "
            "export the mask on the scan's own grid."
        )
    found = volume.array == label if label is not None else volume.array != 0
    if not found.any():
        what = f"has no voxel of label {label}" if label is not None else "is empty"
        raise InputError(f"{path}: the mask {what}; draw the lesion, or remove its row.")
    return Volume(found, like.affine)


def write(path: storage.PathLike, volume: Volume, *, compresslevel: int = 1) -> None:
    """Writes `volume` as NIfTI, atomically; reading it gives the same world positions."""
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    affine = np.eye(4)
    affine[:3] = volume.affine[:3, [2, 1, 0, 3]]  # columns (z, y, x) to nibabel's (x, y, z)
    image = nib.Nifti1Image(np.ascontiguousarray(array.T), affine)
    image.header.set_xyzt_units("mm")
    with storage.atomic(path) as partial:
        if partial.name.endswith(".gz"):
            with gzip.GzipFile(partial, "wb", compresslevel=compresslevel, mtime=0) as file:
                file.write(image.to_bytes())
        else:
            partial.write_bytes(image.to_bytes())


def _read(path: storage.PathLike) -> Volume:
    """Reads any NIfTI file in its closest canonical orientation, checked."""
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise InputError(f"{path}: no such file.")
    if not name.lower().endswith(_SUFFIXES):
        raise InputError(f"{path}: not a NIfTI file by its name (.nii or .nii.gz); convert it.")
    try:
        image = nib.load(name)
        _check_header(path, image)
        image = nib.as_closest_canonical(image)
        array = np.asanyarray(image.dataobj)
    except InputError:
        raise
    except (EOFError, OSError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        raise InputError(
            f"{path}: damaged or truncated ({' '.join(str(error).split())[:120]}); copy it again "
            "from its source."
        ) from error
    affine = np.eye(4)
    affine[:3] = image.affine[:3, [2, 1, 0, 3]]  # columns (x, y, z) to (z, y, x)
    return Volume(array.T, affine)


def _check_header(path: storage.PathLike, image: nib.Nifti1Image) -> None:
    if len(image.shape) != 3 or min(image.shape) < 1:
        raise InputError(f"{path}: has the shape {image.shape}; a scan must be 3-D.")
    header = image.header
    spacing = header["pixdim"][1:4] if "pixdim" in header else header.get_zooms()[:3]
    if not np.all(np.isfinite(spacing)) or np.min(spacing) <= 0:
        values = ", ".join(f"{s:g}" for s in spacing)
        raise InputError(f"{path}: voxel spacing ({values}) must be positive; mend the header.")
    affine = image.affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise InputError(f"{path}: its affine is singular; mend the header's sform or qform.")

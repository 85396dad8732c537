"""Loads scans and masks of every supported format: NIfTI, NRRD, MHA, DICOM."""

import os

import nibabel as nib
import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, itk, nifti
from dtc_jax.storage import PathLike

NAMES = (*nifti.SUFFIXES, *itk.SUFFIXES, "a DICOM folder")

_SIDES_MM = (0.01, 50.0)  # of a voxel; beyond, a length was stored in another unit
_TILT_DEG = 0.1  # shifts the ends of a 400 mm scan by 0.7 mm
_SHIFT_MM = 0.1


def load(path: PathLike, series: int | str | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads a scan or a mask of any format and orientation into the closest canonical axes.

    Args:
      path: a file, whose name determines the format, or a folder of DICOM files.
      series: of a DICOM folder; see `dicom.find`.

    Returns:
      array: [X, Y, Z] along the axes closest to right, anterior, superior; slope and intercept of
        the header applied; integers, or finite float32.
      affine: [4, 4]; maps an index (x, y, z, 1) to RAS world coordinates in mm.
      axes: orientation of the axes of the file, in nibabel's letters, such as 'LPS'.

    Raises:
      InputError: it is missing, has another format, is damaged, not 3-D, has no valid geometry,
        is sheared or contains NaN.
    """
    return canonical(path, *_load(path, series))


def canonical(
    path: PathLike, array: np.ndarray, affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """`load`, of what is in memory already.

    Args:
      path: its name in a message.
      array: three axes in any order.
      affine: [4, 4]; maps an index along them to RAS world coordinates in mm.
    """
    _check_voxels(path, affine, array.shape)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large values become infinite, and are refused
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            count = np.count_nonzero(~np.isfinite(array))
            raise InputError(
                f"{path}: contains {count} voxels that are NaN or infinite; convert it again, or "
                "replace them (in a scan by -1000, the HU of air; in a mask by 0)."
            )
    orientation = nib.io_orientation(affine)
    straight = affine @ nib.orientations.inv_ornt_aff(orientation, array.shape)
    axes = "".join(nib.orientations.ornt2axcodes(orientation))
    return nib.apply_orientation(array, orientation), straight, axes


def _check_voxels(path: PathLike, affine: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuses voxels of impossible size, and those that are no cuboids: a gantry tilt."""
    if not np.isfinite(affine).all():
        raise InputError(f"{path}: its affine has values that are NaN or infinite; fix the header.")
    sides_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if sides_mm.min() < _SIDES_MM[0] or sides_mm.max() > _SIDES_MM[1]:
        size = " × ".join(f"{side:.3g}" for side in sides_mm)
        raise InputError(
            f"{path}: its voxels are {size} mm large; no CT has such voxels, so the unit of its "
            "header is wrong. Save it again with the spacing in mm."
        )
    axes = affine[:3, :3] / sides_mm
    lean = np.abs(axes.T @ axes - np.eye(3)).max()  # sine of the angle that a right one lacks
    tilt_deg = np.degrees(np.arcsin(min(lean, 1.0)))
    if tilt_deg > _TILT_DEG and lean * (sides_mm * shape).max() > _SHIFT_MM:
        raise InputError(
            f"{path}: the slices are sheared by a gantry tilt of {tilt_deg:.1f} degrees; correct "
            "the tilt first (dcm2niix does)."
        )


def _load(path: PathLike, series: int | str | None) -> tuple[np.ndarray, np.ndarray]:
    name = os.fspath(path).lower()
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file or folder; check the path.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied; change its permissions.")
    if dicom.is_scan(path):
        return dicom.load(path, series)
    if series is not None:
        raise InputError(f"{path}: only DICOM has series; omit series {series!r}.")
    if name.endswith(nifti.SUFFIXES):
        return nifti.load(path)
    if name.endswith(itk.SUFFIXES):
        return itk.load(path)
    raise InputError(f"{path}: unsupported format; convert it to one of {', '.join(NAMES)}.")

"""The one door for scans and masks on disk: NIfTI, NRRD, MHA, DICOM."""

import os

import nibabel as nib
import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.imaging import dicom, itk, nifti
from dtc_jax.storage import PathLike

NAMES = (*nifti.SUFFIXES, *itk.SUFFIXES, "a DICOM folder")


def load(path: PathLike, series: int | str | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads a scan or a mask of any format and orientation into its closest canonical axes.

    Args:
      path: a file, whose format its name tells, or a folder of DICOM files.
      series: of a DICOM folder; see `dicom.find`.

    Returns:
      array: [X, Y, Z] along the axes closest to right, anterior, superior; slope and intercept of
        the header applied; integers, or finite float32.
      affine: [4, 4]; maps an index (x, y, z, 1) to RAS world coordinates in mm.
      axes: to which side each axis of the file runs, in nibabel's letters, such as 'LPS'.

    Raises:
      InputError: it is missing, of another format, damaged, not 3-D, has no valid geometry or holds
        NaN.
    """
    array, affine = _load(path, series)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            count = np.count_nonzero(~np.isfinite(array))
            raise InputError(
                f"{path}: holds {count} voxels that are NaN or infinite; convert it again, or give "
                "them a number (in a scan -1000, the HU of air; in a mask 0)."
            )
    orientation = nib.io_orientation(affine)
    canonical = affine @ nib.orientations.inv_ornt_aff(orientation, array.shape)
    axes = "".join(nib.orientations.ornt2axcodes(orientation))
    return nib.apply_orientation(array, orientation), canonical, axes


def _load(path: PathLike, series: int | str | None) -> tuple[np.ndarray, np.ndarray]:
    name = os.fspath(path).lower()
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file or folder.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read; change its permissions.")
    if os.path.isdir(path) or dicom.is_dicom(path):
        return dicom.load(path, series)
    if series is not None:
        raise InputError(f"{path}: only DICOM has series; leave series {series!r} out.")
    if name.endswith(nifti.SUFFIXES):
        return nifti.load(path)
    if name.endswith(itk.SUFFIXES):
        return itk.load(path)
    raise InputError(f"{path}: not a scan by its name ({', '.join(NAMES)}); convert it.")

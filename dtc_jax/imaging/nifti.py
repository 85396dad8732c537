"""NIfTI files, read completely and checked: a damaged file is an error, never another image."""

import gzip
import io
import math
import os
import zlib

import nibabel as nib
import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

SUFFIXES = (".nii", ".nii.gz")

_FORMATS = (nib.Nifti1Header, nib.Nifti2Header)
_MAX_HEADER = 540  # bytes, of NIfTI-2
_MIN_CELL = 1e-3  # volume of a voxel / volume of a cuboid with its sides


def load(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads a 3-D file.

    Returns:
      array: three axes as stored; slope and intercept of the header applied; numbers as stored, or
        float32.
      affine: [4, 4]; maps an index along them to RAS world coordinates in mm.

    Raises:
      InputError: the file is damaged, not 3-D or has no valid geometry.
    """
    data = _bytes(path)
    header_class = next((h for h in _FORMATS if h.may_contain_header(data[:_MAX_HEADER])), None)
    if header_class is None:
        raise InputError(f"{path}: has no NIfTI header; it is damaged, or has another format.")
    try:
        # Unchecked: nibabel would silently replace a spacing of 0 by 1, and of -2 by 2.
        header = header_class.from_fileobj(io.BytesIO(data), check=False)
        affine = _checked_geometry(path, header)
        _check_content(path, header, len(data))
        array = header.raw_data_from_fileobj(io.BytesIO(data))
        slope, intercept = header.get_slope_inter()
    except (OSError, ValueError, OverflowError, nib.spatialimages.HeaderDataError) as error:
        raise _damaged(path, error) from error
    if slope is not None and (slope, intercept) != (1.0, 0.0):
        # float32 is exact enough for HU; float64 would take gigabytes for a large CT.
        with np.errstate(over="ignore"):  # becomes infinite, which `formats` refuses
            array = array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return array, affine


def _bytes(path: PathLike) -> bytes:
    """The whole file, unpacked: gzip has its checksum at the end."""
    name = os.fspath(path)
    try:
        with gzip.open(name) if name.lower().endswith(".gz") else open(name, "rb") as file:
            return file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: PathLike, reason: object) -> InputError:
    text = " ".join(str(reason).split())[:120]
    return InputError(f"{path}: is damaged or truncated ({text}); copy it again from its source.")


def _checked_geometry(path: PathLike, header: nib.Nifti1Header) -> np.ndarray:
    """The affine of a 3-D header. # [4, 4]"""
    shape = header.get_data_shape()
    if len(shape) != 3:
        advice = "stack its slices" if len(shape) < 3 else "save one of its volumes"
        raise InputError(f"{path}: is {len(shape)}-D {shape}, but a scan must be 3-D; {advice}.")
    if min(shape) < 1:
        raise InputError(f"{path}: has the shape {shape}, without a voxel; convert it again.")
    spacing = header["pixdim"][1:4]
    if not np.all(np.isfinite(spacing)) or np.min(spacing) <= 0:
        values = ", ".join(f"{side:g}" for side in spacing)
        raise InputError(f"{path}: voxel spacing ({values}) must be positive; fix the header.")
    affine = header.get_best_affine()
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    cell = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    if not cell > _MIN_CELL * np.prod(sides):
        raise InputError(f"{path}: its affine is singular; fix the sform or qform in the header.")
    return affine


def _check_content(path: PathLike, header: nib.Nifti1Header, n_bytes: int) -> None:
    try:
        dtype = header.get_data_dtype()
    except KeyError as error:
        raise _damaged(path, f"unknown data type {error}") from error
    if dtype.kind not in "iuf":
        raise InputError(
            f"{path}: contains {dtype} voxels, not numbers; convert it to grey values."
        )
    shape = [int(side) for side in header.get_data_shape()]
    start = int(header.get_data_offset())
    if start < header.sizeof_hdr:  # else the header would be read as voxels
        raise _damaged(path, f"its voxels start at byte {start}, within the header")
    needed = start + math.prod(shape) * dtype.itemsize
    if n_bytes < needed:
        raise _damaged(path, f"{n_bytes} bytes of {needed}")

"""NIfTI files, read to their last byte and checked: damage is an error, never another picture."""

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
_LONGEST_HEADER = 540  # bytes; that of NIfTI-2
_FLATTEST = 1e-3  # volume of a voxel's cell / that of a cuboid with its sides


def load(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads a 3-D file.

    Returns:
      array: three axes as stored; the header's slope and intercept applied; numbers as stored, or
        float32.
      affine: [4, 4]; maps an index along them to RAS world coordinates in mm.

    Raises:
      InputError: the file is damaged, not 3-D or has no valid geometry.
    """
    data = _bytes(path)
    kind = next((one for one in _FORMATS if one.may_contain_header(data[:_LONGEST_HEADER])), None)
    if kind is None:
        raise InputError(f"{path}: has no NIfTI header; it is damaged, or of another format.")
    try:
        # Unchecked: nibabel's check would quietly put 1 for a spacing of 0, and 2 for one of -2.
        header = kind.from_fileobj(io.BytesIO(data), check=False)
        affine = _checked_geometry(path, header)
        _check_content(path, header, len(data))
        array = header.raw_data_from_fileobj(io.BytesIO(data))
        slope, intercept = header.get_slope_inter()
    except (OSError, ValueError, OverflowError, nib.spatialimages.HeaderDataError) as error:
        raise _damaged(path, error) from error
    if slope is not None and (slope, intercept) != (1.0, 0.0):
        # In float32, which holds any HU: float64 would take gigabytes for a large CT.
        with np.errstate(over="ignore"):  # becomes infinite, which the reader of any scan refuses
            array = array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return array, affine


def _bytes(path: PathLike) -> bytes:
    """All of the file, unpacked. gzip keeps its checksum at the end: only who reads it sees it."""
    name = os.fspath(path)
    try:
        with gzip.open(name) if name.lower().endswith(".gz") else open(name, "rb") as file:
            return file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: PathLike, why: object) -> InputError:
    reason = " ".join(str(why).split())[:120]
    return InputError(f"{path}: damaged or truncated ({reason}); copy it again from its source.")


def _checked_geometry(path: PathLike, header: nib.Nifti1Header) -> np.ndarray:
    """The affine of a 3-D header. # [4, 4]"""
    shape = header.get_data_shape()
    if len(shape) != 3:
        advice = "stack its slices" if len(shape) < 3 else "save one of its volumes"
        raise InputError(f"{path}: is {len(shape)}-D {shape}, where a scan is 3-D; {advice}.")
    if min(shape) < 1:
        raise InputError(f"{path}: has the shape {shape}, which holds no voxel; convert it again.")
    spacing = header["pixdim"][1:4]
    if not np.all(np.isfinite(spacing)) or np.min(spacing) <= 0:
        values = ", ".join(f"{side:g}" for side in spacing)
        raise InputError(f"{path}: voxel spacing ({values}) must be positive; mend the header.")
    affine = header.get_best_affine()
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    cell = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    if not cell > _FLATTEST * np.prod(sides):
        raise InputError(f"{path}: its affine is singular; mend the header's sform or qform.")
    return affine


def _check_content(path: PathLike, header: nib.Nifti1Header, n_bytes: int) -> None:
    try:
        dtype = header.get_data_dtype()
    except KeyError as error:
        raise _damaged(path, f"unknown data type {error}") from error
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: holds {dtype} voxels, not numbers; convert it to grey values.")
    shape = [int(side) for side in header.get_data_shape()]
    start = int(header.get_data_offset())
    if start < header.sizeof_hdr:  # else the header itself would be read as voxels
        raise _damaged(path, f"its voxels start at byte {start}, within the header")
    needed = start + math.prod(shape) * dtype.itemsize
    if n_bytes < needed:
        raise _damaged(path, f"{n_bytes} bytes of {needed}")

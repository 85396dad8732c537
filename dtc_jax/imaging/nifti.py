"""NIfTI files, read completely and checked: a damaged file is an error, never another image."""

import gzip
import io
import math
import zlib

import nibabel as nib
import numpy as np

from dtc_jax.errors import InputError, one_line
from dtc_jax.storage import PathLike

SUFFIXES = (".nii", ".nii.gz")

_FORMATS = (nib.Nifti1Header, nib.Nifti2Header)
_MAX_HEADER = 540  # bytes, of NIfTI-2
_MIN_CELL = 1e-3  # volume of a voxel / volume of a cuboid with its sides
_GZIP = b"\x1f\x8b"  # the first bytes of a packed file
_UNIT_MM = {1: 1e3, 2: 1.0, 3: 1e-3}  # by the code of NIfTI for space: metre, mm, micron
_MAX_APART = 0.5  # of a voxel, between the places that the sform and the qform give it
_MAX_SCALE = 0.01  # by which the sides of a voxel in sform and pixdim may differ, of the latter


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
        affine = checked_geometry(path, header)
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
    """The whole file, unpacked if it is packed, whatever its name says.

    gzip has its checksum at the end.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        with gzip.open(path) if packed else open(path, "rb") as file:
            return file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: PathLike, reason: object) -> InputError:
    text = one_line(reason, 120)
    return InputError(f"{path}: is damaged or truncated ({text}); copy it again from its source.")


def checked_geometry(path: PathLike, header: nib.Nifti1Header) -> np.ndarray:
    """The affine of a 3-D header, in mm. # [4, 4]

    Raises:
      InputError: it is of another rank, or does not say where its voxels are; names `path`.
    """
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
    affine = _affine(path, header)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    cell = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    if not cell > _MIN_CELL * np.prod(sides):
        raise InputError(f"{path}: its affine is singular; fix the sform or qform in the header.")
    unit_mm = _UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)  # not stated: mm
    if np.abs(sides / spacing - 1).max() > _MAX_SCALE:  # a qform has its sides from pixdim
        form, zooms = (" × ".join(f"{side * unit_mm:.4g}" for side in s) for s in (sides, spacing))
        raise InputError(
            f"{path}: its sform has voxels of {form} mm, its pixdim of {zooms} mm, so programs "
            "disagree on its size. Convert the scan again from its source, or correct the wrong "
            "one (nibabel: image.set_sform(affine), or "
            "image.header.set_zooms(nibabel.affines.voxel_sizes(image.affine)))."
        )
    affine[:3] *= unit_mm
    return affine


def as_saved(header: nib.Nifti1Header, affine: np.ndarray | None) -> nib.Nifti1Header:
    """The header with which nibabel would save an image in memory.

    Args:
      header: of the image.
      affine: of the image, [4, 4]; a program may have changed it, and then it counts. None: that of
        the header.
    """
    saved = header.copy()
    forms = (saved.get_sform(coded=True)[0], _qform(saved))
    stated = next((form for form in forms if form is not None), saved.get_base_affine())
    if affine is not None and not np.allclose(affine, stated, equal_nan=True):
        saved.set_sform(affine, code="aligned")
        saved["qform_code"] = 0
        saved["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    return saved


def _affine(path: PathLike, header: nib.Nifti1Header) -> np.ndarray:
    """The sform, or the qform where there is none, in the unit of the header. # [4, 4]

    Nobody knows which of two that disagree is right: nibabel takes the sform, ITK may take the
    qform. With neither, NIfTI says nothing of left and right, or of head and foot.
    """
    sform: np.ndarray | None = header.get_sform(coded=True)[0]
    qform = _qform(header)
    forms = [form for form in (sform, qform) if form is not None]
    if not forms:
        raise InputError(
            f"{path}: its header has neither an sform nor a qform, so nothing says where left and "
            "head are; convert the scan again from its DICOM series (dcm2niix does), or set the "
            "sform if you know its axes."
        )
    if sform is None or qform is None or not np.isfinite(sform).all():
        return forms[0]
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in header.get_data_shape()])).reshape(3, -1)
    apart = (sform - qform)[:3, :3] @ corners + (sform - qform)[:3, 3:]  # [3, 8]
    apart_mm = float(np.linalg.norm(apart, axis=0).max())
    if apart_mm > _MAX_APART * np.min(header["pixdim"][1:4]):
        mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
        raise InputError(
            f"{path}: its sform and its qform disagree by up to {apart_mm:.1f} mm"
            f"{', and one is the mirror image of the other' * bool(mirrored)}. Convert the scan "
            "again from its source, or copy the right one to the other (nibabel: "
            "image.set_qform(image.get_sform()), or set_sform of the qform)."
        )
    return sform


def _qform(header: nib.Nifti1Header) -> np.ndarray | None:
    """The qform; None if the header has none, or not a valid one. # [4, 4]"""
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # as NIfTI says of 0
    try:
        return header.get_qform(coded=True)[0]
    except (ValueError, nib.spatialimages.HeaderDataError):
        return None


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

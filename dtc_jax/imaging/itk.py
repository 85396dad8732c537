"""NRRD and MetaImage files (.nrrd, .mha), as written by 3D Slicer and ITK-SNAP."""

import os
import re

import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

SUFFIXES = (".nrrd", ".mha")

_MAX_HEADER = 2**20  # bytes; a segmentation with many segments has a long one
_FIELD = re.compile(rb"^([A-Za-z ]+?)\s*(?:=|:=?)\s*(.*?)\s*$", re.MULTILINE)
_SPACING = {b"spacings", b"space directions", b"elementspacing", b"elementsize"}
_DIRECTIONS = {b"space directions", b"transformmatrix", b"rotation", b"orientation"}
_SPACES = {  # of NRRD: those of which ITK knows where they point
    *(b"left-posterior-superior", b"right-anterior-superior", b"left-anterior-superior"),
    *(b"lps", b"ras", b"las"),
}
_UNIT_MM = {b"mm": 1.0, b"millimeter": 1.0, b"millimeters": 1.0, b"?": 1.0}  # ?: not stated
_UNIT_MM |= {b"m": 1e3, b"cm": 10.0, b"um": 1e-3, b"\xc2\xb5m": 1e-3}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def load(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads a 3-D file.

    Returns:
      array: three axes as stored.
      affine: [4, 4]; maps an index along them to RAS world coordinates in mm.

    Raises:
      InputError: the file is damaged, not 3-D, in colour, has no valid geometry or stores its
        voxels in another file; or SimpleITK is not installed.
    """
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs SimpleITK; pip install 'dtc-jax[itk]'."
        ) from error
    fields = _checked_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
        shape, channels = reader.GetSize(), reader.GetNumberOfComponents()
        if len(shape) != 3:
            advice = "stack its slices" if len(shape) < 3 else "save one of its volumes"
            raise InputError(
                f"{path}: is {len(shape)}-D {shape}, but a scan must be 3-D; {advice}."
            )
        if channels != 1:
            raise InputError(
                f"{path}: has {channels} numbers per voxel (colours, or overlapping segments); "
                "save grey values, or one label map."
            )
        unit_mm = _unit_mm(path, fields)
        image = reader.Execute()
    except RuntimeError as error:
        if "Failed to allocate memory" in str(error):  # not a fault of the file
            raise MemoryError from error
        raise InputError(
            f"{path}: is damaged, truncated or has no valid geometry; save it again."
        ) from error
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine[:3] *= unit_mm
    return sitk.GetArrayFromImage(image).T, _LPS_TO_RAS @ affine


def _checked_header(path: PathLike) -> dict[bytes, bytes]:
    """The fields of the header; refuses two things that ITK would read silently.

    Raises:
      InputError: there is no spacing, or the voxels are in another file.
    """
    with open(path, "rb") as file:
        start = file.read(_MAX_HEADER)
    if start.startswith(b"NRRD"):
        header, _, _ = start.replace(b"\r\n", b"\n").partition(b"\n\n")
    else:
        header, mark, rest = start.partition(b"ElementDataFile")  # the last field
        header += mark + rest.split(b"\n")[0]
    fields = {name.lower(): value for name, value in _FIELD.findall(header)}
    data_file = fields.get(b"data file", fields.get(b"datafile", fields.get(b"elementdatafile")))
    if data_file not in (None, b"LOCAL"):
        raise InputError(f"{path}: stores its voxels in another file; save it as one file.")
    if not _SPACING & set(fields):
        raise InputError(
            f"{path}: its header has no voxel spacing; save it again with the spacing in mm."
        )
    return fields


def _unit_mm(path: PathLike, fields: dict[bytes, bytes]) -> float:
    """The unit of length in mm; ITK takes any for mm, and a missing direction for the usual one.

    Raises:
      InputError: the header has no direction, or its unit is unknown.
    """
    is_nrrd = b"space directions" in fields or b"spacings" in fields
    if not _DIRECTIONS & set(fields) or (
        is_nrrd and fields.get(b"space", b"").lower() not in _SPACES
    ):
        raise InputError(
            f"{path}: its header does not say where its axes point (left, posterior, superior); "
            "convert the scan again from its DICOM series."
        )
    stated = b" ".join(
        fields.get(name, b"") for name in (b"space units", b"units", b"distanceunits")
    )
    units = {unit.lower() for unit in re.findall(rb'[^"\s]+', stated)} or {b"mm"}
    if len(units) > 1 or not units <= set(_UNIT_MM):
        raise InputError(f"{path}: its unit of length is not known; save it again in mm.")
    return _UNIT_MM[units.pop()]

"""DICOM series made from a volume, as a scanner and an archive would have written them."""

import pathlib
from collections.abc import Sequence

import nibabel as nib
import numpy as np
import pydicom
from pydicom import uid

from dtc_jax.imaging.volume import Volume

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
INTERCEPT = -1024


def make_slices(
    volume: Volume, axes: str = "LPS", series: int = 1, **tags: object
) -> list[pydicom.Dataset]:
    """The slices of a CT series, in the order of the slice axis.

    Args:
      volume: HU that are whole; a numbered origin for every voxel.
      axes: where columns, rows and slices grow to; 'LPS' is the usual axial series.
      series: its SeriesNumber.
      **tags: of every slice; None deletes one.
    """
    affine = np.eye(4)
    affine[:3] = volume.affine[:3, [2, 1, 0, 3]]
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes)
    )
    stored = nib.apply_orientation(volume.array.T, turn).T - INTERCEPT  # [slice, row, column]
    affine = affine @ nib.orientations.inv_ornt_aff(turn, volume.array.T.shape)
    affine = _RAS_TO_LPS @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = (affine[:3, :2] / spacing[:2]).T.ravel()
    study, series_uid, frame = uid.generate_uid(), uid.generate_uid(), uid.generate_uid()
    slices = []
    for number, plane in enumerate(stored):
        one = pydicom.Dataset()
        one.SOPClassUID, one.SOPInstanceUID = uid.CTImageStorage, uid.generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID = study, series_uid
        one.FrameOfReferenceUID = frame
        one.PatientID, one.PatientName = "7", "Nobody"
        one.Modality, one.SeriesNumber, one.InstanceNumber = "CT", series, number + 1
        one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.ImagePositionPatient = _decimals((affine @ [0, 0, number, 1])[:3])
        one.ImageOrientationPatient = _decimals(cosines)
        one.PixelSpacing = _decimals(spacing[[1, 0]])  # of rows, of columns
        one.SliceThickness = f"{spacing[2]:.6g}"
        one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, INTERCEPT, "HU"
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.Rows, one.Columns = plane.shape
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.PixelRepresentation = 0
        one.PixelData = plane.astype("<u2").tobytes()
        for keyword, value in tags.items():
            if value is None:
                delattr(one, keyword)
            else:
                setattr(one, keyword, value)
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        slices.append(one)
    return slices


def _decimals(values: Sequence[float]) -> list[str]:
    return [f"{value:.9g}"[:16] for value in values]


def save_slices(
    slices: Sequence[pydicom.Dataset], folder: pathlib.Path, name: str = "IM{:04d}.dcm"
) -> pathlib.Path:
    """Writes each slice to a file of its own, named by its place in `slices`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(slices):
        one.save_as(folder / name.format(number), enforce_file_format=True)
    return folder


def change_one(slices: Sequence[pydicom.Dataset], **tags: object) -> Sequence[pydicom.Dataset]:
    """Gives the fourth slice other values."""
    for keyword, value in tags.items():
        if keyword in slices[3]:  # the element is one for all slices
            delattr(slices[3], keyword)
        setattr(slices[3], keyword, value)
    return slices


def enhance_slices(slices: Sequence[pydicom.Dataset]) -> pydicom.Dataset:
    """The same slices as frames of one enhanced CT."""
    first = slices[0]
    one = pydicom.Dataset()
    for element in first:
        if element.keyword not in _OF_FRAMES:
            one.add(element)
    one.SOPClassUID = uid.EnhancedCTImageStorage
    one.NumberOfFrames = len(slices)
    one.PixelData = b"".join(other.PixelData for other in slices)
    one.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    shared = one.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence = [_part(first, "PixelSpacing", "SliceThickness")]
    shared.PlaneOrientationSequence = [_part(first, "ImageOrientationPatient")]
    rescale = _part(first, "RescaleSlope", "RescaleIntercept", "RescaleType")
    shared.PixelValueTransformationSequence = [rescale]
    one.PerFrameFunctionalGroupsSequence = []
    for other in slices:
        frame = pydicom.Dataset()
        frame.PlanePositionSequence = [_part(other, "ImagePositionPatient")]
        one.PerFrameFunctionalGroupsSequence.append(frame)
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return one


_OF_FRAMES = (
    *("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelData"),
)


def _part(header: pydicom.Dataset, *keywords: str) -> pydicom.Dataset:
    part = pydicom.Dataset()
    for keyword in keywords:
        part.add(header[keyword])
    return part

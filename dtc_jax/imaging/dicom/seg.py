"""Lesions as a DICOM SEG that refers to the series they were found on."""

import dataclasses
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pydicom

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.imaging.dicom import files
from dtc_jax.imaging.dicom.series import Series

if TYPE_CHECKING:
    import highdicom as hd

PURPOSE = "Lung lesions. For research use only"

_SERIES_NUMBER = 900  # beyond those of scanners
_MAX_ID = 64  # characters of a DICOM id
_UTF_8 = "ISO_IR 192"
# The tags of the images that a segmentation must repeat; they identify only the images.
_GEOMETRY = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Modality", "Rows", "Columns", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_IDENTITY = [
    *("SpecificCharacterSet", "PatientID", "IssuerOfPatientID", "PatientName"),
    *("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyDescription"),
]
_EMPTY = ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")


@dataclasses.dataclass(frozen=True)
class Origin:
    """The algorithm that segmented the lesions.

    Attributes:
      name: of the algorithm.
      version: of the algorithm and its weights.
      reviewed: whether a person confirmed or edited the result.
      manual: whether a person has outlined the lesions, and no algorithm.
    """

    name: str
    version: str
    reviewed: bool = False
    manual: bool = False


@files.suppress_header_values()
def write_seg(
    path: storage.PathLike,
    lesions: volume.Volume,
    source: Series,
    origin: Origin,
    *,
    patient_id: str = "",
    keep_identity: bool = False,
) -> None:
    """Writes an instance mask as a binary DICOM SEG, one segment per lesion, atomically.

    Segments are numbered from 1 in the order of the lesion numbers, which are in their labels
    ('Lesion 3'). Without `keep_identity`, only `patient_id` describes the patient and the study;
    the unique identifiers of study, series and images are always included as the reference. An
    archive stores the result with its images only with `keep_identity`.

    Args:
      path: of the file.
      lesions: whole numbers, 0 outside, on the grid of the series as read by `volume.read_image`.
      source: the series, of `find`.
      origin: the algorithm.
      patient_id: the study's pseudonym, as PatientID and PatientName.
      keep_identity: whether to copy the identity of patient and study from the series instead.

    Raises:
      InputError: there is no lesion; the mask is on another grid; the series is split into several
        multi-frame files, or its images have no identifiers of their own; `patient_id` is not a
        valid DICOM id; the identity in the series is not valid; highdicom is not installed.
    """
    try:
        import highdicom as hd
    except ImportError as error:
        raise InputError(
            f"{path}: writing it needs highdicom; pip install 'dtc-jax[dicom]'."
        ) from error
    numbers = np.unique(lesions.array[lesions.array > 0])
    if not numbers.size:
        raise InputError(f"{path}: there is no lesion; a DICOM SEG needs at least one.")
    if len(patient_id) > _MAX_ID or not patient_id.isprintable() or {*"\\^="} & {*patient_id}:
        raise InputError(
            f"{path}: the patient id must have at most {_MAX_ID} characters, without \\, ^, = and "
            "line breaks, to be valid in DICOM."
        )
    segment_of = np.zeros(int(numbers[-1]) + 1, np.uint16)
    segment_of[numbers.astype(int)] = np.arange(1, len(numbers) + 1)
    planes = segment_of[_planes(path, lesions, source).astype(np.int32)]
    images, order = _images(path, source)
    for image in images:
        _identify(image, patient_id, keep_identity)
    try:
        result = hd.seg.Segmentation(
            source_images=images,
            pixel_array=planes[order],
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(segment, int(number), origin)
                for segment, number in enumerate(numbers, start=1)
            ],
            series_instance_uid=hd.UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="dtc-jax",
            manufacturer_model_name=origin.name,
            software_versions=origin.version,
            device_serial_number="none",
            series_description=PURPOSE,
            content_description=PURPOSE,
            content_label="LESIONS",
        )
    except (TypeError, ValueError) as error:
        if not keep_identity:
            raise
        raise InputError(
            f"{path}: the identity in the header of the series is not valid DICOM and cannot be "
            "copied; omit --keep_identity."
        ) from error
    if not keep_identity:
        result.PatientIdentityRemoved = "YES"
        result.DeidentificationMethod = "Header removed; unique identifiers kept"
    with storage.atomic(path) as partial:
        result.save_as(partial)


def _planes(path: storage.PathLike, lesions: volume.Volume, source: Series) -> np.ndarray:
    """The mask in the axes of the series. # [Z, Y, X] -> [slices, rows, columns]"""
    affine = lesions.affine[:, [2, 1, 0, 3]]
    orientation = nib.io_orientation(np.linalg.inv(source.affine) @ affine)
    planes = nib.apply_orientation(lesions.array.T, orientation).T
    affine = affine @ nib.orientations.inv_ornt_aff(orientation, lesions.array.T.shape)
    shape = (len(source.slices), *source.slices[0].shape)
    grid = volume.Volume(np.broadcast_to(np.False_, shape), source.affine[:, [2, 1, 0, 3]])
    volume.check_same_grid(path, volume.Volume(planes, affine[:, [2, 1, 0, 3]]), grid)
    return planes


def _images(path: storage.PathLike, source: Series) -> tuple[list[pydicom.Dataset], list[int]]:
    """Headers of the images, and the indices of the slices in the order of these images."""
    order = sorted(range(len(source.slices)), key=lambda z: source.slices[z].frame)
    names = list(dict.fromkeys(source.slices[z].file for z in order))
    if 1 < len(names) < len(order):
        raise InputError(
            f"{path}: the series is split into {len(names)} multi-frame files, to which a DICOM "
            "SEG cannot refer; use the NIfTI mask."
        )
    images = [files.read(name, [*_GEOMETRY, *_IDENTITY]) for name in names]
    uids = {str(image.get("SOPInstanceUID") or "") for image in images} - {""}
    if len(uids) < len(images):
        raise InputError(
            f"{path}: the {len(images)} images of the series have {len(uids)} identifiers in all "
            "(SOPInstanceUID), so a DICOM SEG cannot say on which slice a lesion is; use the NIfTI "
            "mask, or export the series again."
        )
    for image in images:
        # highdicom needs a thickness, but some series leave it empty: the distance of the slices.
        # An enhanced image has it elsewhere.
        if image.SOPClassUID not in files.ENHANCED and not image.get("SliceThickness"):
            image.SliceThickness = f"{np.linalg.norm(source.affine[:3, 2]):.6g}"
    return images, order


def _identify(image: pydicom.Dataset, patient_id: str, keep_identity: bool) -> None:
    """Keeps the identity in the header, in UTF-8, or replaces it by the pseudonym."""
    if not keep_identity:
        for keyword in _IDENTITY:
            if keyword in image:
                delattr(image, keyword)
        image.SpecificCharacterSet = _UTF_8
        image.PatientID = image.PatientName = patient_id
    elif image.get("SpecificCharacterSet"):  # highdicom does not take them all
        image.decode()
        image.SpecificCharacterSet = _UTF_8
    for keyword in ("PatientID", "PatientName", *_EMPTY):
        if keyword not in image:
            setattr(image, keyword, "")


def _segment(segment: int, number: int, origin: Origin) -> "hd.seg.SegmentDescription":
    import highdicom as hd
    from pydicom.sr.codedict import codes

    kinds = hd.seg.SegmentAlgorithmTypeValues
    by_network = kinds.SEMIAUTOMATIC if origin.reviewed else kinds.AUTOMATIC
    network = hd.AlgorithmIdentificationSequence(
        name=origin.name, family=codes.cid7162.ArtificialIntelligence, version=origin.version
    )
    return hd.seg.SegmentDescription(
        segment_number=segment,
        segment_label=f"Lesion {number}",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=kinds.MANUAL if origin.manual else by_network,
        algorithm_identification=None if origin.manual else network,
        anatomic_regions=[codes.SCT.Lung],
        tracking_id=f"Lesion {number}",
        tracking_uid=hd.UID(),
    )

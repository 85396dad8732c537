"""What a header could say of a patient, to be looked for where it must not be."""

import warnings

import pydicom
from pydicom import datadict
from pydicom.tag import Tag

NAME = "ZZPLANTED"
DATE = "19410302"
UID = "1.2.840.99999.4242"
PLANTS = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), NAME),
    **dict.fromkeys(("DA", "DT"), DATE),
    "TM": "034217.424242",
    "AS": "083Y",
    "UI": UID,
}
SECRETS = (NAME, DATE, UID, "034217", "083Y")
REFERENCE = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"}
# Without these values a file is no CT image.
TECHNICAL = {
    *("SOPClassUID", "ImageType", "Modality", "PhotometricInterpretation", "RescaleType"),
    *("SpecificCharacterSet", "PatientID"),
}


def make_plants() -> pydicom.Dataset:
    """A secret in every text, date and identifier that DICOM knows, and in private ones."""
    found = pydicom.Dataset()
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        inner = pydicom.Dataset()
        for keyword in ("PatientID", "PatientName", "InstitutionName", "PersonName"):
            setattr(inner, keyword, NAME)
        for tag, (vr, _, _, _, keyword) in datadict.DicomDictionary.items():
            if not keyword or keyword in TECHNICAL | REFERENCE or not 7 < tag >> 16 < 0x7FE0:
                continue
            if vr in PLANTS:
                found.add_new(tag, vr, PLANTS[vr])
            elif vr == "SQ" and keyword.startswith(("Referenced", "Request", "Other", "Original")):
                found.add_new(tag, vr, [inner])
        found.PatientID, found.PatientSex = NAME, "O"
        for offset, vr in enumerate(("LO", "LO", "PN", "UT", "SH")):
            found.add_new(Tag(0x0029, 0x1000 + offset if offset else 0x0010), vr, NAME)
    return found

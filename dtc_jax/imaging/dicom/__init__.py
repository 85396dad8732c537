"""DICOM: a CT series as a scan, lesions as a segmentation, without identifying the patient.

No message or text for display contains a UID, text of a header, or the name of a file inside the
folder. Positions along the slice axis are in mm of the DICOM patient coordinate system.
"""

from dtc_jax.imaging.dicom.files import is_scan, visible_files
from dtc_jax.imaging.dicom.pixels import load
from dtc_jax.imaging.dicom.series import Series, find

__all__ = ["Series", "find", "is_scan", "load", "visible_files"]

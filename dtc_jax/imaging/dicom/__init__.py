"""DICOM: a CT series as a scan, lesions as a segmentation. What identifies a patient stays out.

No message, and nothing that is returned for display, holds a UID, a header's text or the name of a
file inside the folder. Positions along the slice axis are in mm of the DICOM patient system.
"""

from dtc_jax.imaging.dicom.files import is_dicom, visible_files
from dtc_jax.imaging.dicom.pixels import load
from dtc_jax.imaging.dicom.series import Series, find

__all__ = ["Series", "find", "is_dicom", "load", "visible_files"]

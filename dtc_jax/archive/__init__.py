"""DICOM archives: a series is read where it lies, and a segmentation put back."""

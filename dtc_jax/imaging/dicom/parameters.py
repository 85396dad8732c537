"""How a CT was acquired, as far as its header says so in numbers, or in the name of a kernel.

The name of a kernel is text of the header. It is taken only where it is one by its form (B30f,
Br40d, FC51, LUNG), so that no other text can get out.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pydicom

COLUMNS = ("kvp", "tube_current_ma", "kernel", "pixel_mm", "slice_mm")
_NUMBERS = {"kvp": "KVP", "tube_current_ma": "XRayTubeCurrent", "slice_mm": "SliceThickness"}
_KERNEL = re.compile(r"[A-Z][a-z]?\d{2}[a-z]{0,2}|FC\d{2}|EB|[A-Z]|Y[ABC]")  # Siemens, Canon, …
_WORDS = ("STANDARD", "SOFT", "SMOOTH", "DETAIL", "LUNG", "BONE", "BONEPLUS", "EDGE", "CHEST")


def of_headers(headers: Sequence[pydicom.Dataset]) -> Mapping[str, float | str]:
    """Those of `COLUMNS` that a series has; the tube current is the median, as it is modulated.

    Args:
      headers: of the images, in any order.
    """
    found = [of_header(header) for header in headers]
    currents = [float(one["tube_current_ma"]) for one in found if "tube_current_ma" in one]
    median = {"tube_current_ma": float(np.median(currents))} if currents else {}
    return {**found[0], **median}


def of_header(header: pydicom.Dataset) -> Mapping[str, float | str]:
    """Those of `COLUMNS` that the header of an image has; of an oblong pixel the mean side."""
    found: dict[str, float | str] = {}
    for column, keyword in _NUMBERS.items():
        found[column] = _number(header.get(keyword))
    sides = [_number(side) for side in header.get("PixelSpacing") or ()]
    found["pixel_mm"] = round(sum(sides) / len(sides), 4) if sides else 0.0
    kernel = header.get("ConvolutionKernel")
    if isinstance(kernel, pydicom.multival.MultiValue):  # with the strength of an iteration
        kernel = kernel[0] if len(kernel) else None
    text = str(kernel or "").strip()
    if _KERNEL.fullmatch(text) or text.upper() in _WORDS:
        found["kernel"] = text
    return {name: value for name, value in found.items() if isinstance(value, str) or value > 0}


def _number(value: object) -> float:
    """0 where it is none."""
    try:
        return float(str(value))
    except ValueError:
        return 0.0

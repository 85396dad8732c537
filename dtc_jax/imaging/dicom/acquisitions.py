"""Several acquisitions in one series whose slices alternate.

Half a slice apart, two acquisitions look like one of twice the slices, all evenly spaced. A lesion
that breathing has moved in between is then torn into stripes. dcm2niix stacks them and warns; here
they are refused.
"""

import itertools
from collections.abc import Sequence

import numpy as np

# What may tell acquisitions apart: DICOM keyword of a slice, that of a frame of an enhanced image
# (in its FrameContentSequence), and its name in a message.
MARKS = {
    "AcquisitionNumber": ("FrameAcquisitionNumber", "acquisition number"),
    "AcquisitionTime": ("FrameAcquisitionDateTime", "acquisition time"),
    "TemporalPositionIdentifier": ("TemporalPositionIndex", "phase"),
    "ConvolutionKernel": ("", "reconstruction kernel"),
    "KVP": ("", "tube voltage"),
    "ContentTime": ("", "content time"),
    "InstanceNumber": ("", "instance number"),
}
_OF_IMAGES = ("ContentTime", "InstanceNumber")  # says nothing of the acquisition where it repeats
_ORDERED = ("AcquisitionNumber", "AcquisitionTime", "ContentTime", "InstanceNumber")
_MOST = 4  # acquisitions that are looked for by order
_FEWEST = 3  # slices of each: of fewer, chance puts some in order


def alternating(marks: Sequence[dict[str, str]]) -> tuple[str, list[int]] | None:
    """Looks for acquisitions that alternate from slice to slice.

    One acquisition may number every slice anew, or a few of them together, but in the order of the
    slices; and of two that follow each other each has its own part of the body.

    Args:
      marks: of each slice, sorted by position: values by the keys of `MARKS`, '' where missing.

    Returns:
      By what they are told apart, and the number of slices of each; None if there is one.
    """
    for keyword, (_, name) in MARKS.items():
        values = np.array([mark.get(keyword, "") for mark in marks])
        kinds, counts = np.unique(values, return_counts=True)
        runs = 1 + np.count_nonzero(values[1:] != values[:-1])
        if keyword not in _OF_IMAGES and 2 <= len(kinds) <= runs / 2:
            return name, counts.tolist()
        if keyword in _ORDERED and len(kinds) > 1:
            try:
                numbers = values.astype(float)
            except ValueError:  # some lack it
                continue
            for among in range(2, _MOST + 1):
                parts = [numbers[first::among] for first in range(among)]
                repeated = keyword == "InstanceNumber" and _same(parts)
                if min(map(len, parts)) >= _FEWEST and (repeated or _apart(parts)):
                    return name, [len(part) for part in parts]
    return None


def _apart(parts: Sequence[np.ndarray]) -> bool:
    """Whether all values of one part are above all of the part before it."""
    ordered = sorted(parts, key=lambda part: float(part.min()))
    return all(low.max() < high.min() for low, high in itertools.pairwise(ordered))


def _same(parts: Sequence[np.ndarray]) -> bool:
    """Whether all parts count alike."""
    return len(set(map(len, parts))) == 1 and all((part == parts[0]).all() for part in parts)

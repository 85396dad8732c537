"""The HU of a cohort's records, compared with each other: what no single cube can tell.

A small cube within a soft tissue has no air in it, and one about a bone is dense. But a cohort as a
whole has both air and tissue, and a record that lies above all others by hundreds of HU, in its
darkest parts as in its brightest, lacks its intercept.
"""

from collections.abc import Sequence

import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

PERCENTILES = (5, 95)
_AIRLESS_HU, _BONY_HU = 50.0, 600.0  # the percentiles of a cohort stored 1024 too high are above
_FLAT_HU = 10.0  # between the percentiles; the noise of a CT alone is wider
_FAR_HU = 400.0  # of 904 real cubes none is further than 210 HU from the median in both
_FEWEST = 3
_LISTED = 10


def of_record(image: np.ndarray) -> tuple[float, float]:
    """The `PERCENTILES` of a record's HU. # [D, H, W]"""
    low, high = np.percentile(image, PERCENTILES)
    return float(low), float(high)


def compare(
    path: PathLike, names: Sequence[str], percentiles: Sequence[tuple[float, float]]
) -> list[str]:
    """A sentence that names the records whose HU are far from those of the others.

    Args:
      path: of the manifest, for messages.
      names: ids of the lesions or patches.
      percentiles: of each, by `of_record`.

    Returns:
      No sentence where all agree.

    Raises:
      InputError: the records as a whole are not in HU.
    """
    found = np.array(percentiles, float).reshape(-1, len(PERCENTILES))
    if len(found) < _FEWEST:
        return []
    low, high = np.median(found, axis=0)
    if (low > _AIRLESS_HU and high > _BONY_HU) or high - low < _FLAT_HU:
        raise InputError(
            f"{path}: its scans are not in HU: around a lesion they have numbers of {low:.0f} to "
            f"{high:.0f} (the middle 90 %), but lung is about -850 and soft tissue 40. Convert the "
            "scans again with their rescale slope and intercept (usually -1024)."
        )
    away = found - (low, high)
    far = (np.abs(away).min(axis=1) > _FAR_HU) & (np.sign(away[:, 0]) == np.sign(away[:, 1]))
    if not far.any():
        return []
    listed = [
        f"{names[i]} ({found[i, 0]:.0f} to {found[i, 1]:.0f})"
        for i in np.flatnonzero(far)[:_LISTED]
    ]
    more = f" and {far.sum() - _LISTED} more" if far.sum() > _LISTED else ""
    return [
        f"the HU around {', '.join(listed)}{more} are far from those of the other lesions "
        f"({low:.0f} to {high:.0f}, the middle 90 %); check the rescale intercept of these scans"
    ]

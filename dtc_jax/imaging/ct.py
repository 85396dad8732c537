"""A CT in HU, checked to be one: its numbers, its padding, and the order of its slices.

Air is -1000 HU by definition, and every CT of a chest has some. What a header got wrong, such as a
missing intercept, shows in it.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume

AIR_HU = -1024  # the lowest number of a CT of 12 bits
_PADDING_HU = -1500  # noise and streaks reach -1445 in 904 real volumes; padding is -2000 or less
_HIGHEST_HU = 2**15 - 1  # of 16 bits; beyond is a negative number that was stored as a positive one
_FEW = 0.01  # of the voxels
_WHOLE_MM = (50.0, 150.0, 150.0)  # z, y, x: a scan this large contains air, a small cube may not
_NO_AIR_HU = -200.0
_NO_TISSUE_HU = -300.0
_FILLED = 0.25  # of the corners of all slices: one value in so many is padding
_AIRY_HU = -900.0  # padding below looks like air
_JUMP_HU = 400.0  # between neighbouring slices
_DENSE_HU = 500.0  # not even a cube within a soft tissue is as dense throughout
_SAMPLED = 2**21  # voxels
_SLICES = 16  # of fewer, chance may decide
_ALTERNATING = 0.9
"""Slices alternate where those two apart differ less than neighbours do, by this factor.

It is 1.57 to 1.62 in five real scans (1.10 with noise of 60 HU on top, 1.0 of noise alone), and
0.78 or less in the same scans if they alternate with themselves, two slices away.
"""


def read(path: storage.PathLike, series: int | str | None = None) -> Volume:
    """Reads a CT as `volume.read_image` does, and refuses what cannot be one in HU.

    Padding, as scanners write it outside the circle that they reconstruct, becomes air, and the
    volume's `notes` say so.

    Args:
      path: see `volume.read_image`.
      series: see `volume.read_image`.

    Raises:
      InputError: see `volume.read_image`; or the numbers are not HU, or the slices of two
        acquisitions alternate.
    """
    return checked(path, volume.read_image(path, series))


def checked(path: storage.PathLike, scan: Volume) -> Volume:
    """`read`, of a scan that is in memory already; `path` is its name in a message."""
    is_whole = bool((scan.spacing_mm * scan.shape >= _WHOLE_MM).all())
    signed, of_sign = _signed(path, scan.array)
    array, of_padding = _without_padding(path, signed)
    fill = _fill(signed) if is_whole else np.array([])
    _check_hu(path, signed, fill, is_whole)
    array, of_fill = _without_fill(array, fill[fill > _AIRY_HU])
    if is_whole:
        _check_order(path, array)
        _check_levels(path, signed)
    return dataclasses.replace(scan, array=array, notes=of_sign + of_padding + of_fill)


def _signed(path: storage.PathLike, hu: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The scan with the sign of numbers of 16 bits that were stored without it, and a note."""
    high = hu > _HIGHEST_HU
    if not high.any():
        return hu, ()
    if hu.max() >= 2**16:
        raise InputError(
            f"{path}: contains voxels of up to {hu.max():.0f} HU, which no CT has; convert the "
            "scan again from its DICOM series, in HU."
        )
    signed = volume.compact(np.where(high, hu - 2**16, hu))
    count = np.count_nonzero(signed[high] >= _PADDING_HU)
    if not count:
        return signed, ()
    return signed, (f"{count:,} voxels are treated as negative numbers that were stored unsigned.",)


def _without_padding(path: storage.PathLike, hu: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The scan with air in place of padding, and a note of it."""
    outside = hu < _PADDING_HU
    found = hu[outside]
    if not found.size:
        return hu, ()
    values, counts = np.unique(found[:: 1 + found.size // _SAMPLED], return_counts=True)
    if found.size > _FEW * hu.size and counts.max() < counts.sum() / 2:
        raise InputError(
            f"{path}: {found.size / hu.size:.0%} of its voxels are below {_PADDING_HU} HU, and "
            "unlike padding they differ in value; the rescale intercept was probably applied "
            "twice. Convert the scan again from its DICOM series, in HU."
        )
    usual = values[counts.argmax()]
    clean = volume.compact(np.where(outside, np.asarray(AIR_HU, hu.dtype), hu))
    return clean, (f"{found.size:,} voxels of padding ({usual:.0f} HU) are treated as air.",)


def _fill(hu: np.ndarray) -> np.ndarray:
    """The values of which many corners are: a scanner or a resampling has put them there. # [N]"""
    corners = hu[:, [0, -1]][:, :, [0, -1]]
    values, counts = np.unique(corners, return_counts=True)
    return values[counts > _FILLED * corners.size]


def _without_fill(hu: np.ndarray, fill: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The scan with air in place of padding that looks like tissue, and a note of it.

    Within the body the same numbers are tissue: only what reaches the side of its slice counts.
    """
    clean, notes = hu.copy() if fill.size else hu, []
    for value in fill:
        count = 0
        for plane in clean:
            pieces, _ = ndimage.label(plane == value)
            rim = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
            outside = np.isin(pieces, rim[rim > 0])
            plane[outside] = AIR_HU
            count += int(np.count_nonzero(outside))
        notes.append(f"{count:,} voxels of padding ({value:.0f} HU) are treated as air.")
    return clean, tuple(notes)


def _check_hu(path: storage.PathLike, hu: np.ndarray, fill: np.ndarray, is_whole: bool) -> None:
    """Refuses a scan without air or without tissue, and a small one in which all is dense.

    Padding tells nothing: it is the same with and without the intercept. Padding that looks like
    air is one of the values of `_fill`.
    """
    sample = hu.ravel()[:: 1 + 2 * (hu.size // _SAMPLED)]  # odd, so that it meets every column
    sample = sample[sample >= _PADDING_HU]
    if not sample.size:
        raise InputError(f"{path}: contains nothing but padding; convert the scan again.")
    low, high = np.percentile(sample, [1, 99.9])
    bare = sample[~np.isin(sample, fill)]
    if bare.size and np.percentile(bare, 75) >= _DENSE_HU:
        low = np.percentile(bare, 1)
    if low >= (_NO_AIR_HU if is_whole else _DENSE_HU):
        raise InputError(
            f"{path}: is not in HU: 99 % of its voxels are above {low:.0f}, but air is -1000. The "
            "rescale intercept (usually -1024) is missing, or it was saved as a picture. Convert "
            "the scan again from its DICOM series, or add the intercept."
        )
    if is_whole and high < _NO_TISSUE_HU:
        raise InputError(
            f"{path}: is not in HU: only 0.1 % of its voxels are above {high:.0f}, but soft tissue "
            "is about 40. The rescale intercept was probably applied twice. Convert the scan "
            "again from its DICOM series."
        )


def _check_order(path: storage.PathLike, hu: np.ndarray) -> None:
    """Refuses slices that are more like the next but one than like their neighbours."""
    if len(hu) < _SLICES:
        return
    seen = np.clip(hu[:, ::4, ::4], -1000, 400).astype(np.float32)
    one, two = (float(np.abs(seen[apart:] - seen[:-apart]).mean()) for apart in (1, 2))
    if two < _ALTERNATING * one:
        raise InputError(
            f"{path}: its {len(hu)} slices seem to alternate between two acquisitions: each "
            "slice resembles the one after the next more than its neighbour. Export one "
            "acquisition alone."
        )


def _check_levels(path: storage.PathLike, hu: np.ndarray) -> None:
    """Refuses a scan of which some slices lack the intercept that their neighbours have.

    There the whole slice moves, its air, its middle and its bone alike; from an empty slice to the
    first one of a body they do not.
    """
    seen = hu[:, ::4, ::4].reshape(len(hu), -1).astype(np.float32)
    jumps = np.diff(np.percentile(seen, [5, 50, 99], axis=1))  # [3, Z - 1]
    is_large = (jumps > _JUMP_HU).all(axis=0) | (jumps < -_JUMP_HU).all(axis=0)
    found = np.flatnonzero(is_large & (np.ptp(jumps, axis=0) < _JUMP_HU))
    if found.size:
        at = int(found[0])
        raise InputError(
            f"{path}: slices {at + 1} and {at + 2} of {len(hu)}, counted from the feet, differ by "
            f"{abs(jumps[1, at]):.0f} HU throughout, so some slices have a missing or wrong "
            "rescale intercept. Convert the scan again from its DICOM series, or export the series "
            "again."
        )

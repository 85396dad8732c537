"""The voxels of a lesion as compressed text, in radiological orientation, for the browser."""

import base64
import zlib

import nibabel as nib
import numpy as np

from dtc_jax.imaging.volume import Volume
from dtc_jax.report.review.finding import Finding

AXES = ("I", "P", "L")
"""The orientation of every array on the page: axes toward inferior, posterior, left.

Every radiological view is then a plain slice: axial with the patient's right on the left of the
screen, coronal likewise with the head up, sagittal with the front on the left.
"""

LEVELS = np.concatenate(
    [np.arange(-1024, -160, 6), np.arange(-160, 240, 4), np.arange(240, 1440, 100)]
)
"""HU of the 256 codes. # [256]

This is without a visible loss: a grey level of the lung window (1500 HU wide) is 6 HU, and steps of
4 HU give the soft tissue window a hundred grey levels, finer than the noise of a chest CT. Above
240 HU both windows are white.
"""

_CODE_OF = np.searchsorted(
    (LEVELS[1:] + LEVELS[:-1]) / 2, np.arange(LEVELS[0], LEVELS[-1] + 1)
).astype(np.uint8)  # of whole HU from the lowest level

HEAT_STEP = 2
"""Voxels along each axis that share a heat value; the last stage of the network is coarser."""


def oriented(volume: Volume) -> Volume:
    """Permutes and flips the axes of `volume` to those closest to `AXES`, without resampling."""
    transform = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(volume.affine),
        nib.orientations.axcodes2ornt(AXES),
    )
    array = nib.orientations.apply_orientation(volume.array, transform)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(transform, volume.shape)
    return Volume(array, affine)


def pack(finding: Finding) -> tuple[dict, str]:
    """Packs the arrays of a lesion.

    Returns:
      A description: `shape` and `spacing` in mm along `AXES`, `start` (along each axis the slice
      with most of the lesion) and `heat`, the value of code 255 of the heat map in logit units
      (None without a map). Then the voxels, the base64 text of a zlib stream: the codes of
      `LEVELS`, the mask with eight voxels per byte, and the heat in steps of `HEAT_STEP` voxels.
      Codes of image and heat are differences along rows and columns. Of such noise only the
      frequencies of the codes can be compressed: a search for repeated strings (zlib's default)
      takes five times as long for a longer result.
    """
    image, mask = oriented(finding.image), oriented(finding.mask).array
    heat = None if finding.heat is None else _coarse(oriented(finding.heat).array)
    top = None if heat is None else float(heat.max())
    parts = [_differences(_codes(image.array)), np.packbits(mask)]
    if heat is not None:
        parts.append(_differences(np.rint(heat * (255 / (top or 1))).astype(np.uint8)))
    pack = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    stream = pack.compress(b"".join(part.tobytes() for part in parts)) + pack.flush()
    planes = [mask.sum(tuple({0, 1, 2} - {axis})) for axis in range(3)]
    description = {
        "shape": list(image.shape),
        "spacing": [round(float(side), 6) for side in image.spacing_mm],
        "start": [_middle(plane == plane.max()) for plane in planes],
        "heat": top,
    }
    return description, base64.b64encode(stream).decode()


def _middle(condition: np.ndarray) -> int:
    """The middle one of the indices at which `condition` is true."""
    indices = np.flatnonzero(condition)
    return int(indices[len(indices) // 2])


def _codes(hu: np.ndarray) -> np.ndarray:
    """The nearest of `LEVELS`. # [...] HU -> [...] uint8"""
    return _CODE_OF[np.rint(hu).clip(LEVELS[0], LEVELS[-1]).astype(np.int32) - LEVELS[0]]


def _differences(codes: np.ndarray) -> np.ndarray:
    """Differences along both axes of all rows below each other, modulo 256. # [..., X] -> [N, X]"""
    rows = codes.reshape(-1, codes.shape[-1])
    return np.diff(np.diff(rows, axis=0, prepend=np.uint8(0)), axis=1, prepend=np.uint8(0))


def _coarse(heat: np.ndarray) -> np.ndarray:
    """Means over blocks of `HEAT_STEP` voxels, padded by the edge. # [...] -> [ceil(n / 2)]"""
    size = [-(-n // HEAT_STEP) for n in heat.shape]
    extra = [(0, m * HEAT_STEP - n) for m, n in zip(size, heat.shape, strict=True)]
    padded = np.pad(heat.astype(np.float32), extra, mode="edge").clip(0)
    blocks = [length for m in size for length in (m, HEAT_STEP)]
    return padded.reshape(blocks).mean((1, 3, 5))

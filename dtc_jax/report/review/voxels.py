"""The voxels of a lesion as text that a browser unpacks: right side up, and small."""

import base64
import zlib

import nibabel as nib
import numpy as np

from dtc_jax.imaging.volume import Volume
from dtc_jax.report.review.finding import Finding

AXES = ("I", "P", "L")
"""Where the three axes of every array on the page lead: inferior, posterior, left.

Every radiological view is then a slice as it is: axial with the patient's right on the left of the
screen, coronal the same with the head up, sagittal with the front on the left.
"""

LEVELS = np.concatenate(
    [np.arange(-1024, -160, 6), np.arange(-160, 240, 4), np.arange(240, 1440, 100)]
)
"""HU of the 256 codes. # [256]

Packed as below, a lesion takes 190 kB instead of the 300 kB of exact HU, and nothing is lost that
can be seen: a grey level of the lung window (1500 HU wide) is 6 HU, and steps of 4 HU give the soft
tissue window a hundred grey levels, finer than the noise of a chest CT.
Above 240 HU both are white.
"""

HEAT_STEP = 2
"""Voxels along each axis that share a value of heat; the network's last stage is coarser."""


def oriented(volume: Volume) -> Volume:
    """Turns and flips the axes of `volume` to those nearest `AXES`; each voxel stays in place."""
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(volume.affine),
        nib.orientations.axcodes2ornt(AXES),
    )
    array = nib.orientations.apply_orientation(volume.array, turn)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)
    return Volume(array, affine)


def pack(finding: Finding) -> tuple[dict, str]:
    """Packs the arrays of a lesion.

    Returns:
      What is needed to unpack and show them: `shape` and `spacing` in mm along `AXES`, `start`
      (along each axis the slice with most of the lesion) and `heat`, the value of the heat map's
      code 255 in logit units (None without a map). Then base64 of a zlib stream: the codes of
      `LEVELS`, the mask with eight voxels a byte, and the heat in steps of `HEAT_STEP` voxels.
      Codes of image and heat are differences to the voxel before, which pack better.
    """
    image, mask = oriented(finding.image), oriented(finding.mask).array
    heat = None if finding.heat is None else _coarse(oriented(finding.heat).array)
    top = None if heat is None else float(heat.max())
    parts = [_differences(_codes(image.array)), np.packbits(mask)]
    if heat is not None:
        parts.append(_differences(np.rint(heat * (255 / (top or 1))).astype(np.uint8)))
    stream = zlib.compress(b"".join(part.tobytes() for part in parts), 6)
    planes = [mask.sum(tuple({0, 1, 2} - {axis})) for axis in range(3)]
    facts = {
        "shape": list(image.shape),
        "spacing": [round(float(side), 6) for side in image.spacing_mm],
        "start": [_middle(plane == plane.max()) for plane in planes],
        "heat": top,
    }
    return facts, base64.b64encode(stream).decode()


def _middle(those: np.ndarray) -> int:
    """The middle one of the places that hold."""
    places = np.flatnonzero(those)
    return int(places[len(places) // 2])


def _codes(hu: np.ndarray) -> np.ndarray:
    """The nearest of `LEVELS`. # [...] HU -> [...] uint8"""
    return np.searchsorted((LEVELS[1:] + LEVELS[:-1]) / 2, hu).astype(np.uint8)


def _differences(codes: np.ndarray) -> np.ndarray:
    """Each code less the one before it, modulo 256. # [...] -> [N]"""
    return np.diff(codes.ravel(), prepend=np.uint8(0))


def _coarse(heat: np.ndarray) -> np.ndarray:
    """Means over blocks of `HEAT_STEP` voxels, the last ones repeated. # [...] -> [ceil(n / 2)]"""
    size = [-(-n // HEAT_STEP) for n in heat.shape]
    extra = [(0, m * HEAT_STEP - n) for m, n in zip(size, heat.shape, strict=True)]
    padded = np.pad(heat.astype(np.float32), extra, mode="edge").clip(0)
    blocks = [length for m in size for length in (m, HEAT_STEP)]
    return padded.reshape(blocks).mean((1, 3, 5))

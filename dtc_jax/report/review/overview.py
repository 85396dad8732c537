"""The whole chest in two pictures, on which the page marks each lesion."""

import base64
import dataclasses
import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.report.review import voxels

_MARGIN_MM = 8.0  # around the lungs
_PIXEL_MM = 1.0
_WINDOW_HU = (-950.0, 150.0)
_ACROSS = {"coronal": 1, "axial": 0}  # of the axes of `voxels.AXES`


@dataclasses.dataclass(frozen=True)
class Overview:
    """Maximum intensity projections of the lungs, in radiological orientation.

    Attributes:
      part: the box of the scan that they show, with axes as `voxels.AXES`.
      pictures: `name`, `png` (base64) and `size` (width and height in mm) of each.
    """

    part: Volume
    pictures: list[dict]

    def marks(self, point_mm: npt.ArrayLike) -> dict[str, list[float]]:
        """Where a world point is on each picture: shares of its width and of its height."""
        shares = np.clip((self.part.index(point_mm) + 0.5) / self.part.shape, 0, 1).round(4)
        return {
            name: [float(shares[2]), float(np.delete(shares, across)[0])]
            for name, across in _ACROSS.items()
        }


def make(image: Volume, lungs: Volume) -> Overview:
    """Projects the lungs of a scan.

    Args:
      image: HU.
      lungs: on the same grid, not 0 in the lungs; not empty.
    """
    hu, inside = voxels.oriented(image), voxels.oriented(lungs).array > 0
    lungs_box = lesions.bounding_box(inside)
    box = lesions.padded(lungs_box, np.ceil(_MARGIN_MM / hu.spacing_mm), hu.shape)
    part = hu.part(box)
    low, high = _WINDOW_HU
    lung = np.where(inside[box], part.array, low)
    pictures = []
    for name, across in _ACROSS.items():
        grey = (lung.max(axis=across).astype(np.float32) - low) / (high - low)
        size_mm = np.delete(part.shape * part.spacing_mm, across)  # height, width
        zoom = np.round(size_mm / _PIXEL_MM) / grey.shape
        grey = ndimage.zoom(grey, zoom, order=1, mode="nearest", grid_mode=True)
        png = _png((grey.clip(0, 1) * 255).round().astype(np.uint8))
        size = [round(float(side), 1) for side in size_mm[::-1]]
        pictures.append({"name": name, "png": base64.b64encode(png).decode(), "size": size})
    return Overview(Volume(np.broadcast_to(np.False_, part.shape), part.affine), pictures)


def _png(grey: np.ndarray) -> bytes:
    """A greyscale PNG. # uint8 [H, W]"""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", optimize=True)
    return file.getvalue()

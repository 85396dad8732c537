"""The voxels of a series, decompressed and in HU."""

import itertools
from collections.abc import Iterator

import numpy as np
import pydicom
from pydicom import pixels

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import files, series
from dtc_jax.imaging.dicom.slices import Slice
from dtc_jax.storage import PathLike


@files.suppress_header_values()
def load(path: PathLike, which: int | str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Reads the CT series that `series.find` finds.

    Args:
      path: folder or file.
      which: number or SeriesInstanceUID of the series; None: as `series.find` chooses.

    Returns:
      array: [columns, rows, slices]; HU as int32 if slopes and intercepts are whole, else
        float32.
      affine: [4, 4]; maps an index along them to RAS world coordinates in mm.

    Raises:
      InputError: as `series.find`; or its pixels are damaged, truncated or have an unsupported
        compression.
    """
    chosen = series.find(path, which)
    _check_syntaxes(path, chosen.slices)
    is_whole = all(part.slope % 1 == 0 == part.intercept % 1 for part in chosen.slices)
    dtype = np.int32 if is_whole else np.float32
    array = np.empty((len(chosen.slices), *chosen.slices[0].shape), dtype)
    index = {(part.file, part.frame): z for z, part in enumerate(chosen.slices)}
    for _, group in itertools.groupby(sorted(chosen.slices, key=_order), lambda part: part.file):
        members = list(group)
        for part, stored in zip(members, _stored(path, members), strict=True):
            hu = array[index[part.file, part.frame]]
            np.multiply(stored, dtype(part.slope), out=hu, dtype=dtype, casting="unsafe")
            hu += dtype(part.intercept)
    return array.T, chosen.affine


def _order(part: Slice) -> tuple[str, int]:
    return str(part.file), part.frame


def _stored(path: PathLike, members: list[Slice]) -> Iterator[np.ndarray]:
    """Decodes the slices of one file. # [rows, columns] each"""
    try:
        image = files.read(members[0].file)  # given a path, iter_pixels reads no deflated file
        if not members[0].syntax.is_compressed:
            _check_bits(path, image)
        frames = pixels.iter_pixels(image, indices=[part.frame for part in members])
        for part, stored in zip(members, frames, strict=True):
            if stored.shape != part.shape:
                raise ValueError("the size differs from the header")
            yield stored
    except (InputError, MemoryError):  # not a fault of the pixels
        raise
    except Exception as error:  # damaged pixels may raise anything
        raise InputError(
            f"{path}: the pixels of a slice of the series cannot be read (damaged, truncated or "
            "encrypted); copy the series again from its source."
        ) from error


def _check_bits(path: PathLike, image: pydicom.Dataset) -> None:
    """Refuses numbers in the upper bits of a word, as old formats had them: they are not moved."""
    high, stored = image.get("HighBit"), image.get("BitsStored")
    if high is not None and stored is not None and high != stored - 1:
        raise InputError(
            f"{path}: stores {stored} bits of each voxel, the highest in bit {high}, which DICOM "
            "no longer allows; convert the series to the present standard first."
        )


def _check_syntaxes(path: PathLike, members: tuple[Slice, ...]) -> None:
    """Refuses a compression without an installed decoder."""
    for syntax in {part.syntax for part in members}:
        try:
            available = pixels.get_decoder(syntax).is_available
        except NotImplementedError as error:
            raise InputError(
                f"{path}: its compression is not supported; export it uncompressed."
            ) from error
        if not available:
            raise InputError(
                f"{path}: is compressed as {syntax.name}; install the decoders with "
                "pip install 'dtc-jax[dicom]'."
            )

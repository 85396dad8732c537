"""The voxels of a series, decompressed and in HU."""

import itertools
from collections.abc import Iterator

import numpy as np
from pydicom import pixels

from dtc_jax.errors import InputError
from dtc_jax.imaging.dicom import files, series
from dtc_jax.imaging.dicom.slices import Slice
from dtc_jax.storage import PathLike


@files.unseen_values()
def load(path: PathLike, which: int | str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Reads the CT series that `series.find` finds.

    Returns:
      array: [columns, rows, slices]; HU as int32 where slopes and intercepts are whole, else
        float32.
      affine: [4, 4]; maps an index along them to RAS world coordinates in mm.

    Raises:
      InputError: as `series.find`; or its pixels are damaged, truncated or compressed in a way that
        is not known here.
    """
    found = series.find(path, which)
    _check_syntaxes(path, found.slices)
    whole = all(one.slope % 1 == 0 == one.intercept % 1 for one in found.slices)
    dtype = np.int32 if whole else np.float32
    array = np.empty((len(found.slices), *found.slices[0].shape), dtype)
    places = {(one.file, one.frame): z for z, one in enumerate(found.slices)}
    for _, group in itertools.groupby(sorted(found.slices, key=_place), lambda one: one.file):
        members = list(group)
        for one, stored in zip(members, _stored(path, members), strict=True):
            hu = array[places[one.file, one.frame]]
            np.multiply(stored, dtype(one.slope), out=hu, dtype=dtype, casting="unsafe")
            hu += dtype(one.intercept)
    return array.T, found.affine


def _place(one: Slice) -> tuple[str, int]:
    return str(one.file), one.frame


def _stored(path: PathLike, members: list[Slice]) -> Iterator[np.ndarray]:
    """Decodes the slices of one file. # [rows, columns] each"""
    try:
        image = files.read(members[0].file)  # by its path, iter_pixels reads no deflated file
        frames = pixels.iter_pixels(image, indices=[one.frame for one in members])
        for one, stored in zip(members, frames, strict=True):
            if stored.shape != one.shape:
                raise ValueError("of another size than its header says")
            yield stored
    except MemoryError:  # says nothing of the pixels
        raise
    except Exception as error:  # whatever damaged pixels make of the many decoders
        raise InputError(
            f"{path}: the pixels of a slice of the series cannot be read (damaged, truncated or "
            "encrypted); copy the series again from its source."
        ) from error


def _check_syntaxes(path: PathLike, members: tuple[Slice, ...]) -> None:
    """Refuses a compression for which no decoder is here."""
    for syntax in {one.syntax for one in members}:
        try:
            available = pixels.get_decoder(syntax).is_available
        except NotImplementedError as error:
            raise InputError(
                f"{path}: is compressed in a way that is not known here; export it uncompressed."
            ) from error
        if not available:
            raise InputError(
                f"{path}: is compressed as {syntax.name}; pip install 'dtc-jax[dicom]', which "
                "brings the decoders."
            )

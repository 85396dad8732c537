"""A MedMNIST 3-D npz (Yang et al. 2023, "MedMNIST v2") as lesions, with its official split."""

import dataclasses
import zipfile
import zlib

import numpy as np
import pandas as pd

from dtc_jax.crops import record
from dtc_jax.crops.extraction import Record
from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike

SPLITS = {"train": "train", "val": "validation", "test": "test"}  # in the npz, here


@dataclasses.dataclass(frozen=True)
class Cubes:
    """Some images of a split: the first has the number `first` in it. # images [K, D, H, W]"""

    split: str
    first: int
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def read_npz(path: PathLike) -> dict[str, np.ndarray]:
    """The arrays of a MedMNIST 3-D npz.

    Returns:
      {train,val,test}_images uint8 [N, D, H, W] and {train,val,test}_labels [N, 1] of 0 and 1.

    Raises:
      InputError: the file is missing, damaged or not of that form.
    """
    try:
        # NumPy leaves a damaged file open that it opened itself.
        with open(path, "rb") as handle, np.load(handle) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged, or not an npz; download it again.") from error
    shapes = set()
    for key in SPLITS:
        images, labels = arrays.get(f"{key}_images"), arrays.get(f"{key}_labels")
        if images is None or labels is None or len(images) != len(labels) or not len(images):
            raise InputError(
                f"{path}: has no {key}_images and {key}_labels of one length; a MedMNIST npz is "
                "needed."
            )
        if images.ndim != 4 or images.dtype != np.uint8:
            raise InputError(
                f"{path}: {key}_images is {images.dtype} {images.shape}; uint8 [N, D, H, W] is "
                "needed: one of the 3-D sets."
            )
        if labels.size != len(labels) or not np.isin(labels, (0, 1)).all():
            raise InputError(f"{path}: {key}_labels must contain a 0 or 1 for each image.")
        shapes.add(images.shape[1:])
    if len(shapes) > 1:
        raise InputError(f"{path}: its splits have images of different shapes, {sorted(shapes)}.")
    return arrays


def cubes(arrays: dict[str, np.ndarray], at_once: int = 32) -> dict[str, list[Cubes]]:
    """The images of each split, in pieces."""
    return {
        split: [
            Cubes(split, first, arrays[f"{key}_images"][first : first + at_once])
            for first in range(0, len(arrays[f"{key}_images"]), at_once)
        ]
        for key, split in SPLITS.items()
    }


def records(piece: Cubes) -> list[Record | InputError]:
    """The records of some images; MedMNIST names no patients, so each image is its own.

    A record's image keeps the values 0 to 255, its mask is where they are not 0.
    """
    results: list[Record | InputError] = []
    for number, image in enumerate(piece.images, start=piece.first):
        name = lesion_id(piece.split, number)
        if image.any():
            results.append(record.of_cube(image, name, name))
        else:
            results.append(InputError(f"lesion {name}: its image is empty."))
    return results


def table(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """lesion_id, label and split of each record, in order."""
    rows = [
        (lesion_id(split, number), int(np.ravel(label)[0]), split)
        for key, split in SPLITS.items()
        for number, label in enumerate(arrays[f"{key}_labels"])
    ]
    return pd.DataFrame(rows, columns=["lesion_id", "label", "split"])


def lesion_id(split: str, number: int) -> str:
    """The name of an image, 'train-0001', by its place in the npz."""
    return f"{split}-{number:04d}"

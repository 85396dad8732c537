"""TFDS builder of a MedMNIST 3-D npz (Yang et al. 2023) with its official split."""

import dataclasses
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from dtc_jax.errors import InputError

# The name of a split in the npz and here.
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclasses.dataclass
class MedMnist3dConfig(tfds.core.BuilderConfig):
    """What to build: the npz, and the side of its cubes."""

    npz: str = ""
    side: int = 64


class Builder(tfds.core.GeneratorBasedBuilder):
    """Splits train, validation and test; image uint8 values as int16, mask where they are not 0."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any):
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (self.builder_config.side,) * 3
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=shape, dtype=np.int16, encoding="bytes"),
                    "mask": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
                    "extent": tfds.features.Tensor(shape=(3, 2), dtype=np.int32),
                    "lesion_id": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,  # record i is row i of lesions.csv
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        arrays = read_npz(self.builder_config.npz)
        return {
            name: self._generate_examples(arrays[f"{key}_images"], name)
            for key, name in SPLITS.items()
        }

    def _generate_examples(
        self, images: np.ndarray, split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        whole = np.array([[0, side] for side in images.shape[1:]], np.int32)
        for number, image in enumerate(images):
            yield (
                number,
                {
                    "image": image.astype(np.int16),
                    "mask": (image != 0).astype(np.uint8),
                    "extent": whole,
                    "lesion_id": lesion_id(split, number),
                },
            )


def lesion_id(split: str, number: int) -> str:
    """The id of an example; MedMNIST names no patients, so each is its own."""
    return f"{split}-{number:05d}"


def read_npz(path: str) -> dict[str, np.ndarray]:
    """The arrays of a MedMNIST 3-D npz.

    Returns:
      {train,val,test}_images uint8 [N, S, S, S] and {train,val,test}_labels [N, 1] of 0 and 1.

    Raises:
      InputError: the file is missing, damaged or not of that form.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged, or not an npz; copy it again.") from error
    for key in SPLITS:
        images, labels = arrays.get(f"{key}_images"), arrays.get(f"{key}_labels")
        if images is None or labels is None or len(images) != len(labels):
            raise InputError(f"{path}: has no {key}_images and {key}_labels of the same length.")
        if images.ndim != 4 or len(set(images.shape[1:])) != 1:
            raise InputError(f"{path}: {key}_images is {images.shape}; [N, S, S, S] is needed.")
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"{path}: {key}_labels holds more than 0 and 1.")
    return arrays


def table(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """The rows of lesions.csv: ids, label, split and the measures that a shape has. # [N]"""
    rows = []
    for key, split in SPLITS.items():
        for number, (image, label) in enumerate(
            zip(arrays[f"{key}_images"], arrays[f"{key}_labels"], strict=True)
        ):
            name = lesion_id(split, number)
            occupied = np.argwhere(image)
            sides = np.ptp(occupied, axis=0) + 1 if len(occupied) else np.zeros(3)
            row = {"lesion_id": name, "patient_id": name, "label": int(label[0]), "split": split}
            # A voxel of the published cubes counts as 1 mm; the true size is not known.
            row |= {f"box_mm_{axis}": float(s) for axis, s in zip("zyx", sides, strict=True)}
            row |= {f"scan_box_mm_{axis}": float(image.shape[0]) for axis in "zyx"}
            row["diameter_mm"] = float(np.hypot(*sides[1:]))
            rows.append(row)
    return pd.DataFrame(rows)

"""TFDS builder of a MedMNIST 3-D npz with its official split."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from datasets import records
from dtc_jax.crops import fingerprint, medmnist
from dtc_jax.errors import UsageError
from dtc_jax.storage import PathLike


@dataclasses.dataclass
class MedMnist3dConfig(tfds.core.BuilderConfig):
    """A MedMNIST 3-D npz.

    Attributes:
      npz: its path.
    """

    npz: str = ""

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """See `medmnist.read_npz`."""
        if not self.npz:
            raise UsageError('config of medmnist3d: give {"npz": PATH}.')
        return medmnist.read_npz(self.npz)


class Builder(records.RecordBuilder):
    """The splits train, validation and test; labels are joined when reading."""

    VERSION = tfds.core.Version("1.0.0")
    OF_CT = False

    @property
    def shape(self) -> Sequence[int]:
        """Voxels of a record along z, y, x."""
        return self.builder_config.arrays["train_images"].shape[1:]

    def parts(self) -> tuple[Callable[[Any], list], Mapping[str, Sequence[Any]]]:
        """The parts of the npz, by split."""
        if self.use_beam:
            raise UsageError("medmnist3d is a single file; build it without Beam.")
        return medmnist.records, medmnist.cubes(self.builder_config.arrays)


def plan(fields: Mapping[str, Any], data_dir: PathLike, hashes: PathLike) -> records.Plan:
    """The plan of a build; lesions.csv gets the labels and the official split.

    Args:
      fields: of `MedMnist3dConfig`.
      data_dir: not used.
      hashes: cache of `fingerprint.file_hashes`.

    Raises:
      InputError: see `medmnist.read_npz`.
    """
    config = records.make_config(MedMnist3dConfig, "npz", fields)
    table = medmnist.table(config.arrays)
    path = os.path.abspath(config.npz)
    mark = fingerprint.of_contents({"npz": fingerprint.file_hashes([path], hashes)[path]})
    return records.Plan(config, mark, table)

"""The source of the scans of a dataset: a manifest, or a phantom cohort."""

import abc
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds

from datasets import records
from dtc_jax.cohort import phantom
from dtc_jax.crops import extraction, fingerprint
from dtc_jax.errors import UsageError, unknown_choice
from dtc_jax.storage import PathLike


@dataclasses.dataclass
class CohortConfig(tfds.core.BuilderConfig, abc.ABC):
    """The lesions of a manifest, or of a phantom cohort.

    Attributes:
      manifest: path of the CSV.
      phantom: fields of `phantom.PhantomSpec`; None: not a phantom.
    """

    manifest: str = ""
    phantom: Mapping[str, Any] | None = None

    @property
    @abc.abstractmethod
    def params(self) -> Any:
        """The parameters of the records; a dataclass."""

    @abc.abstractmethod
    def scans(self, data_dir: PathLike) -> list[extraction.Scan]:
        """The scans, in the order of the records.

        Raises:
          InputError: see `path` and `manifest.read_manifest`.
        """

    def path(self, data_dir: PathLike) -> str:
        """Path of the manifest; a phantom cohort is generated in `data_dir` if it is missing.

        Raises:
          UsageError: no cohort is given, or a field of the phantom is unknown.
        """
        if (self.phantom is None) == (not self.manifest):
            raise UsageError(
                'config of the dataset: give {"manifest": PATH} or {"phantom": {…}}, not both.'
            )
        if self.phantom is None:
            return os.fspath(self.manifest)
        fields = [field.name for field in dataclasses.fields(phantom.PhantomSpec)]
        for name in self.phantom:
            if name not in fields:
                raise unknown_choice("a field of phantom", name, fields)
        return str(phantom.generate_in(data_dir, phantom.PhantomSpec(**self.phantom)))


def plan(
    config_class: type[CohortConfig],
    fields: Mapping[str, Any],
    data_dir: PathLike,
    hashes: PathLike,
) -> records.Plan:
    """The plan of a build.

    Args:
      config_class: of the builder.
      fields: of the config.
      data_dir: for a generated phantom cohort.
      hashes: cache of `fingerprint.file_hashes`.

    Raises:
      InputError: see `CohortConfig.scans`.
    """
    name = "phantom" if "phantom" in fields else "manifest"
    config = records.make_config(config_class, name, fields)
    params = dataclasses.asdict(config.params)  # invalid ones are refused before any file is read
    mark = fingerprint.of_scans(config.scans(data_dir), params, hashes)
    named = dataclasses.replace(
        config, name=f"{name}-{mark[:12]}", manifest=config.path(data_dir), phantom=None
    )
    return records.Plan(named, mark, acquired=lambda: extraction.acquired(config.scans(data_dir)))

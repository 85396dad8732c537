"""Where the scans of a dataset come from: a manifest, or a phantom cohort."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds

from dtc_jax.cohort import phantom
from dtc_jax.errors import UsageError, unknown_choice
from dtc_jax.storage import PathLike


@dataclasses.dataclass
class CohortConfig(tfds.core.BuilderConfig):
    """The lesions of a manifest, or of a phantom cohort.

    Attributes:
      manifest: path of the CSV.
      phantom: fields of `phantom.PhantomSpec`; None: not a phantom.
    """

    manifest: str = ""
    phantom: Mapping[str, Any] | None = None

    def path(self, data_dir: PathLike) -> str:
        """Path of the manifest; a phantom cohort is generated into `data_dir` if it is not there.

        Raises:
          UsageError: no cohort is given, or no such field of a phantom exists.
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

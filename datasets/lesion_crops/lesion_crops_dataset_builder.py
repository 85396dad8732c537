"""TFDS builder of lesion crops: int16 HU at 1 mm with a margin, the mask and the measures."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import tensorflow_datasets as tfds

from datasets import cohorts, records
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction
from dtc_jax.crops.record import CropParams
from dtc_jax.storage import PathLike


@dataclasses.dataclass
class LesionCropsConfig(cohorts.CohortConfig):
    """Crops around the lesions of a cohort.

    Attributes:
      size_mm: see `record.CropParams`.
      fill: see `record.CropParams`.
      absolute: whether the manifest may name files outside its folder: one that is our own.
    """

    size_mm: tuple[int, int, int] = CropParams.size_mm
    fill: float | Literal["edge"] = CropParams.fill
    absolute: bool = False

    @property
    def params(self) -> CropParams:
        """The parameters of the crops."""
        return CropParams(self.size_mm, self.fill)

    def scans(self, data_dir: PathLike) -> list[extraction.Scan]:
        """The scans, in the order of the records; those without a lesion have no record."""
        path = self.path(data_dir)
        return extraction.scans(manifest.read_manifest(path, healthy=True, absolute=self.absolute))


class Builder(records.RecordBuilder):
    """One TFDS split, `lesions`; labels and splits are joined when reading."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        LesionCropsConfig(name="phantom", phantom={}, description="The default phantom cohort."),
        LesionCropsConfig(name="manifest", description="The lesions of a manifest."),
    )

    @property
    def shape(self) -> Sequence[int]:
        """Voxels of a record along z, y, x."""
        return self.builder_config.params.size_mm

    def parts(self) -> tuple[Callable[[Any], list], Mapping[str, Sequence[Any]]]:
        """The scans, in one split."""
        make = functools.partial(extraction.cut_scan, params=self.builder_config.params)
        return make, {"lesions": self.builder_config.scans(self.data_dir_root)}


plan = functools.partial(cohorts.plan, LesionCropsConfig)

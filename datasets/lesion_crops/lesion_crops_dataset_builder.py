"""TFDS builder of lesion crops: int16 HU at 1 mm with a margin, the mask, the measures."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import tensorflow_datasets as tfds

from datasets import cohorts, records
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction, fingerprint
from dtc_jax.crops.record import CropParams
from dtc_jax.storage import PathLike


@dataclasses.dataclass
class LesionCropsConfig(cohorts.CohortConfig):
    """Crops about the lesions of a cohort.

    Attributes:
      size_mm: see `record.CropParams`.
      fill: the same.
    """

    size_mm: tuple[int, int, int] = CropParams.size_mm
    fill: float | Literal["edge"] = CropParams.fill

    @property
    def params(self) -> CropParams:
        """How lesions are cut out."""
        return CropParams(self.size_mm, self.fill)


class Builder(records.RecordBuilder):
    """One split, `lesions`; labels and splits are joined when reading."""

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
        """Scans, in one split."""
        config = self.builder_config
        make = functools.partial(extraction.cut_scan, params=config.params)
        return make, {"lesions": _scans(config.path(self.data_dir_root))}


def _scans(path: PathLike) -> list[extraction.Scan]:
    """The scans with lesions; a manifest may have others, for a segmenter."""
    return extraction.scans(manifest.read_manifest(path, healthy=True))


def plan(fields: Mapping[str, Any], data_dir: PathLike, hashes: PathLike) -> records.Plan:
    """What is to be built.

    Args:
      fields: of `LesionCropsConfig`.
      data_dir: where a phantom cohort is generated.
      hashes: cache of `fingerprint.file_hashes`.

    Raises:
      InputError: see `CohortConfig.path` and `manifest.read_manifest`.
    """
    name = "phantom" if "phantom" in fields else "manifest"
    config = records.make_config(LesionCropsConfig, name, fields)
    params = dataclasses.asdict(config.params)
    path = config.path(data_dir)
    mark = fingerprint.of_scans(_scans(path), params, hashes)
    found = dataclasses.replace(config, name=f"{name}-{mark[:12]}", manifest=path, phantom=None)
    return records.Plan(found, mark)

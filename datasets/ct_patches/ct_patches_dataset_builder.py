"""TFDS builder of CT patches for the segmenter: windows of the network's own grid, and the mask."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import tensorflow_datasets as tfds

from datasets import cohorts, records
from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction, patches
from dtc_jax.crops.patches import PatchParams
from dtc_jax.storage import PathLike


@dataclasses.dataclass
class CtPatchesConfig(cohorts.CohortConfig):
    """Patches of the scans of a cohort; the fields are described in `patches.PatchParams`.

    Attributes:
      size_mm: of a patch along z, y, x.
      fill: value outside the scan.
      spacing_mm: of the network's grid.
      antialias: filter of scans that are finer than it.
      about: positions; the ids of 'cubes' may be in a column `patch_id`.
      lesion_share: share of patches with a lesion.
      vessel_share: share of patches at vessels among those without.
      border_share: share of patches at the border of the lung field among them.
      other_per_scan: least number of them in a scan.
      seed: of the positions.
    """

    size_mm: tuple[int, int, int] = PatchParams.size_mm
    fill: float | Literal["edge"] = PatchParams.fill
    spacing_mm: float = PatchParams.spacing_mm
    antialias: Literal["gaussian", "none"] = PatchParams.antialias
    about: Literal["lesions", "cubes"] = PatchParams.about
    lesion_share: float = PatchParams.lesion_share
    vessel_share: float = PatchParams.vessel_share
    border_share: float = PatchParams.border_share
    other_per_scan: int = PatchParams.other_per_scan
    seed: int = PatchParams.seed

    @property
    def params(self) -> PatchParams:
        """The parameters of the patches."""
        names = [field.name for field in dataclasses.fields(PatchParams)]
        return PatchParams(**{name: getattr(self, name) for name in names})

    def scans(self, data_dir: PathLike) -> list[extraction.Scan]:
        """The scans, in the order of the records, including those without a lesion."""
        if self.about == "cubes":
            return extraction.scans(manifest.read_manifest(self.path(data_dir), "patch_id"))
        table = manifest.read_manifest(self.path(data_dir), healthy=True)
        scans = extraction.scans(table, whole=True)
        if self.lesion_share < 1 or self.other_per_scan:
            return scans
        # Nothing is drawn from the lungs, so neither they nor a scan without a lesion matter.
        return [dataclasses.replace(scan, lungs="") for scan in scans if scan.lesions]


class Builder(records.RecordBuilder):
    """One TFDS split, `patches`; splits of patients are joined when reading."""

    VERSION = tfds.core.Version("2.1.1")
    BUILDER_CONFIGS = (
        CtPatchesConfig(name="phantom", phantom={}, description="The default phantom cohort."),
        CtPatchesConfig(name="manifest", description="The scans of a manifest."),
    )
    MEASURES = patches.MEASURES

    @property
    def shape(self) -> Sequence[int]:
        """Voxels of a record along z, y, x."""
        return self.builder_config.params.shape

    def parts(self) -> tuple[Callable[[Any], list], Mapping[str, Sequence[Any]]]:
        """The scans, in one split."""
        params = self.builder_config.params
        scans = self.builder_config.scans(self.data_dir_root)
        return functools.partial(patches.cut, params=params), {
            "patches": patches.parts(scans, params)
        }


plan = functools.partial(cohorts.plan, CtPatchesConfig)

"""TFDS builder of lesion crops: int16 HU at 1 mm with a margin, the mask, the measures."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from datasets import examples
from dtc_jax.crops.record import CropParams


@dataclasses.dataclass
class LesionCropsConfig(tfds.core.BuilderConfig):
    """What to build; `name` is 'manifest' or 'phantom'.

    Attributes:
      manifest: path of the manifest's CSV.
      params: how lesions are cut out.
      workers: processes; 0: one for each core.
      use_beam: whether Apache Beam runs the work (needs the extra `beam`).
    """

    manifest: str = ""
    params: CropParams = dataclasses.field(default_factory=CropParams)
    workers: int = 0
    use_beam: bool = False


class Builder(tfds.core.GeneratorBasedBuilder):
    """One split, `lesions`, in the manifest's order; labels and splits are joined when reading."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any):
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        vector = tfds.features.Tensor(shape=(3,), dtype=np.float32)
        shape = tuple(self.builder_config.params.size_mm)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=shape, dtype=np.int16, encoding="bytes"),
                    "mask": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
                    "extent": tfds.features.Tensor(shape=(3, 2), dtype=np.int32),
                    "patient_id": tfds.features.Text(),
                    "lesion_id": tfds.features.Text(),
                    "center_mm": vector,
                    "diameter_mm": tfds.features.Scalar(np.float32),
                    "volume_mm3": tfds.features.Scalar(np.float32),
                    "box_mm": vector,
                    "scan_box_mm": vector,
                    "mean_hu": tfds.features.Scalar(np.float32),
                }
            ),
            disable_shuffling=True,  # record i is row i of lesions.csv
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"lesions": self._generate_examples()}

    def _generate_examples(self) -> Any:
        config = self.builder_config
        if config.use_beam:
            return examples.with_beam(config.manifest, config.params)
        return self._generate(config)

    def _generate(self, config: LesionCropsConfig) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from examples.with_processes(config.manifest, config.params, config.workers)

"""The base of the builders: the format of a record on disk, and the writing of records."""

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from datasets import by_beam
from dtc_jax.crops import extraction, record
from dtc_jax.errors import unknown_choice

_SHARD_SIZE = 256  # records; TFDS keeps a shard in memory while it is written
_BEAM_SHARDS = 64  # about so many, or more, so that as many of Beam's workers have one


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a build.

    Attributes:
      config: of the builder.
      fingerprint: of everything that the records depend on.
      table: further columns of lesions.csv, by lesion_id.
      acquired: makes further columns, by lesion_id, only where the dataset is built: that takes
        time. None, or what it makes is None, where there are none.
    """

    config: tfds.core.BuilderConfig
    fingerprint: str
    table: pd.DataFrame | None = None
    acquired: Callable[[], pd.DataFrame | None] | None = None


def make_config(config_class: type, name: str, fields: Mapping[str, Any]) -> Any:
    """A builder config from the fields that a user gives.

    Raises:
      UsageError: a field is unknown.
    """
    general = {field.name for field in dataclasses.fields(tfds.core.BuilderConfig)}
    allowed = [f.name for f in dataclasses.fields(config_class) if f.name not in general]
    for field in fields:
        if field not in allowed:
            raise unknown_choice("a field of the dataset's config", field, allowed)
    return config_class(name=name, **fields)


class RecordBuilder(tfds.core.ShardBasedBuilder, abc.ABC):
    """Writes records in the order of the parts they are made from, without TensorFlow.

    TFDS's GeneratorBasedBuilder collects all examples before writing, and needs TensorFlow if they
    exceed 1 GB; a builder of shards does neither.
    """

    MEASURES: Mapping[str, str] = record.MEASURES  # of a record: names, and the axes of a vector
    OF_CT = True  # whether the records are in HU

    def __init__(
        self,
        *,
        file_format: str | None = None,
        workers: int = 0,
        use_beam: bool = False,
        **kwargs: Any,
    ):
        """Makes a builder.

        Args:
          file_format: default array_record, the only one with random access.
          workers: number of processes; 0: one per core.
          use_beam: whether Beam makes each shard; `download_and_prepare` gets the runner.
          **kwargs: of `tfds.core.DatasetBuilder`.
        """
        self.workers, self.use_beam = workers, use_beam
        super().__init__(file_format=file_format or "array_record", **kwargs)

    @property
    @abc.abstractmethod
    def shape(self) -> Sequence[int]:
        """Voxels of a record along z, y, x."""

    @abc.abstractmethod
    def parts(self) -> tuple[Callable[[Any], list], Mapping[str, Sequence[Any]]]:
        """The function from a part to its records, and the parts (each has a length) by split."""

    def _info(self) -> tfds.core.DatasetInfo:
        shape = tuple(self.shape)
        measures = {
            name: tfds.features.Tensor(shape=(3,) if axes else (), dtype=np.float32)
            for name, axes in self.MEASURES.items()
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    # Raw bytes: the record file compresses them.
                    "image": tfds.features.Tensor(shape=shape, dtype=np.int16, encoding="bytes"),
                    "mask": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
                    "extent": tfds.features.Tensor(shape=(3, 2), dtype=np.int32),
                    "patient_id": tfds.features.Text(),
                    "lesion_id": tfds.features.Text(),
                    **measures,
                }
            ),
            disable_shuffling=True,  # record i is row i of lesions.csv
        )

    def _download_and_prepare(
        self, dl_manager: Any, download_config: tfds.download.DownloadConfig | None = None
    ) -> None:
        if not self.use_beam:
            super()._download_and_prepare(dl_manager, download_config)
            return
        assert download_config is not None
        make, splits = self.parts()
        writer = by_beam.Writer(make, self.info.features, self._example_writer())
        infos = [
            writer.write(
                self._get_filename_template(split_name=split),
                _shards(parts, _beam_shard_size(parts)),
                download_config,
            )
            for split, parts in splits.items()
        ]
        self.info.set_splits(tfds.core.splits.SplitDict(infos))

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> Mapping[str, Sequence[Callable[[], Iterator[by_beam.KeyedRecord]]]]:
        make, splits = self.parts()
        return {split: self._writers(make, parts) for split, parts in splits.items()}

    def _writers(
        self, make: Callable[[Any], list], parts: Sequence[Any]
    ) -> list[Callable[[], Iterator[by_beam.KeyedRecord]]]:
        # One stream feeds the shards in turn, so that no core waits at the end of one; the last
        # shard exhausts it.
        stream = by_beam.keyed(extraction.extract(make, parts, self.workers))
        lengths = [sum(map(len, shard)) for shard in _shards(parts, _SHARD_SIZE)]
        ends: list[int | None] = [*lengths[:-1], None]
        return [functools.partial(itertools.islice, stream, end) for end in ends]


def _beam_shard_size(parts: Sequence[Any]) -> int:
    return max(1, min(_SHARD_SIZE, sum(map(len, parts)) // _BEAM_SHARDS))


def _shards(parts: Sequence[Any], size: int) -> list[list[Any]]:
    """Groups consecutive parts until a shard has `size` records."""
    shards: list[list[Any]] = [[]]
    for part in parts:
        if sum(map(len, shards[-1])) >= size:
            shards.append([])
        shards[-1].append(part)
    return shards

"""Apache Beam makes the shards of a dataset, as many at a time as its runner has workers.

TFDS makes each shard a stage of the pipeline, and Beam's local runner works on one stage after
another, so that one core is busy. Here the shards are elements of a single stage, which each runner
spreads over its workers. A shard goes straight to its file: none of it passes through the runner.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, naming, writer

from dtc_jax import storage
from dtc_jax.crops import extraction

KeyedRecord = tuple[str, extraction.Record]


def keyed(records: Iterable[extraction.Record]) -> Iterator[KeyedRecord]:
    """The records with their keys, as TFDS writes them."""
    for record in records:
        yield record["lesion_id"], record


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes the shards of a split.

    Attributes:
      make: the function from a part to its records; picklable.
      features: of the dataset.
      example_writer: of the dataset.
    """

    make: Callable[[Any], list]
    features: tfds.features.FeaturesDict
    example_writer: writer.ExampleWriter

    def write(
        self,
        template: naming.ShardedFileTemplate,
        shards: Sequence[Sequence[Any]],
        config: tfds.download.DownloadConfig,
    ) -> tfds.core.SplitInfo:
        """Writes a split, and prints on stderr what is noted of the scans.

        Args:
          template: of the names of the files, with the split.
          shards: the parts of each.
          config: with the runner of Beam and its options.

        Raises:
          InputError: lesions cannot be used. All shards are gone through, and all of them named.
        """
        import apache_beam as beam

        count = len(shards)
        paths = [
            pathlib.Path(template.sharded_filepath(shard_index=i, num_shards=count))
            for i in range(count)
        ]
        tasks = [(path, list(parts)) for path, parts in zip(paths, shards, strict=True)]
        with beam.Pipeline(runner=config.beam_runner, options=config.beam_options) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(tasks, reshuffle=True)
                | "WriteShards" >> beam.Map(self._write_shard)
            )
        # As in TFDS, what is said of a shard is in a file: a worker may be on another machine.
        told = [storage.read_json(_told(path)) for path in paths]
        for path in paths:
            _told(path).unlink()
        extraction.tell(
            [text for one in told for text in one["errors"]],
            [text for one in told for text in one["notes"]],
        )
        return tfds.core.SplitInfo(
            name=template.split,
            shard_lengths=[one["length"] for one in told],
            num_bytes=sum(path.stat().st_size for path in paths),
            filename_template=template,
        )

    def _write_shard(self, task: tuple[pathlib.Path, Sequence[Any]]) -> None:
        """Writes a shard, unless it has errors, and beside it what there is to say of it."""
        path, parts = task
        records, errors, notes = extraction.sort([one for part in parts for one in self.make(part)])
        if not errors:
            serializer = example_serializer.ExampleSerializer(self.features.get_serialized_info())
            shard_writer = writer.ShardWriter(self.features, serializer, self.example_writer)
            shard_writer.write(keyed(records), path)
        told = {"length": len(records), "errors": errors, "notes": notes}
        storage.write_json(_told(path), told)


def _told(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.told.json")

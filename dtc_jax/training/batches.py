"""Batches of stored crops: TFDS-built record files, read by Grain without TensorFlow."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain.python as grain
import numpy as np
import tensorflow_datasets as tfds

from dtc_jax import csv_reader
from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike, plain_path
from dtc_jax.training.task import Batch

_ARRAYS = ("image", "mask", "extent")
_MOST_CACHED = 2 * 2**30  # bytes; what is beyond it is decoded each time


class Records:
    """Random access to the stored crops of a built dataset, in the order of its lesions.csv."""

    def __init__(self, folder: PathLike, *, cache: bool = False):
        """Opens a dataset that `python -m datasets.build` made.

        Args:
          folder: with TFDS's files and lesions.csv.
          cache: whether decoded records are kept in memory, 2 GiB of them at the most (0.75 MB each
            at the default size).

        Raises:
          InputError: the folder contains no such dataset.
        """
        self.folder = pathlib.Path(folder)
        try:
            builder = tfds.builder_from_directory(plain_path(self.folder))
            self._sources = [builder.as_data_source(split=name) for name in builder.info.splits]
            self.lesion_ids = csv_reader.read_table(
                self.folder / "lesions.csv", ("lesion_id",)
            ).lesion_id
        except (OSError, ValueError, AttributeError, InputError) as error:
            raise InputError(
                f"{folder}: not a built dataset ({str(error)[:120]}); build it again."
            ) from error
        self._starts = np.cumsum([0, *(len(source) for source in self._sources)])
        if self._starts[-1] != len(self.lesion_ids):
            raise InputError(
                f"{folder}: {self._starts[-1]} records, but {len(self.lesion_ids)} rows in "
                "lesions.csv; delete the folder and build it again."
            )
        self._check_order()
        self._cache: dict[int, dict[str, np.ndarray]] = {}
        self._room = _MOST_CACHED if cache else 0

    def _check_order(self) -> None:
        """Compares the first and the last record of each split with their rows of lesions.csv."""
        for start, source in zip(self._starts[:-1], self._sources, strict=True):
            for i in {0, len(source) - 1} if len(source) else ():
                stored, listed = source[i]["lesion_id"].decode(), self.lesion_ids[start + i]
                if stored != listed:
                    raise InputError(
                        f"{self.folder}: record {start + i} is {stored}, but that row of "
                        f"lesions.csv is {listed}; delete the folder and build it again."
                    )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        """image int16 [d, h, w], mask uint8 [d, h, w], extent int32 [3, 2]; not to be changed."""
        if position in self._cache:
            return self._cache[position]
        source = int(np.searchsorted(self._starts, position, side="right")) - 1
        stored = self._sources[source][int(position - self._starts[source])]
        record = {name: np.asarray(stored[name]) for name in _ARRAYS}
        size = sum(array.nbytes for array in record.values())
        if size <= self._room:
            self._room -= size
            self._cache[position] = record
        return record


@dataclasses.dataclass(frozen=True)
class View:
    """The lesions of a split.

    Attributes:
      positions: of the records. # [N] int
      labels: 0 or 1. # [N]
      weights: of each in the loss. # [N]
      targets: further ones of the loss, by the task; NaN where unknown. # [N, T], or None
    """

    positions: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.positions)


class Examples:
    """The examples of a view, by their row in it."""

    def __init__(self, records: Records, view: View):
        self._records, self._view = records, view

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """One row of a batch, see `task`; `index` is its position in the records."""
        position = int(self._view.positions[i])
        targets = self._view.targets
        further = {} if targets is None else {"targets": targets[i].astype(np.float32)}
        return (
            self._records[position]
            | further
            | {
                "label": np.float32(self._view.labels[i]),
                "weight": np.float32(self._view.weights[i]),
                "index": np.int32(position),
                "valid": np.float32(1.0),
            }
        )


Rank = tuple[int, int]  # the number of a process, and how many share a batch in equal parts


def train_batches(
    records: Records,
    view: View,
    batch_size: int,
    seed: int,
    workers: int = 2,
    rank: Rank = (0, 1),
) -> Any:
    """An endless iterator of shuffled training batches, with get_state() and set_state().

    Every epoch has its own order, the same on every run; the examples that do not fill a batch at
    its end are left out of that epoch. Of several processes each reads its rows of every batch, one
    block after the other, so that together they have the batch of a single process; the state of
    all is the same, and fits any number of them.

    Args:
      records: the stored crops.
      view: the training split.
      batch_size: rows of the global batch.
      seed: of the order.
      workers: reading threads; 0 reads in the calling thread. The batches do not depend on it.
      rank: of this process.
    """
    examples = Examples(records, view)
    stack = lambda rows: _stacked([examples[i] for i in rows])  # noqa: E731
    return _shuffled(stack, len(view), batch_size, seed, workers, rank)


def train_rows(
    count: int, batch_size: int, seed: int, workers: int = 2, rank: Rank = (0, 1)
) -> Any:
    """The batches of `train_batches` as the rows of the view: {"row": int32 [B]}.

    The order is the same, and so is the state, so that either goes on where the other stood.

    Args:
      count: of the examples.
      batch_size: see `train_batches`, as for the others.
      seed: of the order.
      workers: threads.
      rank: of this process.
    """
    number = lambda rows: {"row": rows.astype(np.int32)}  # noqa: E731
    return _shuffled(number, count, batch_size, seed, workers, rank)


def _shuffled(
    make: Callable[[np.ndarray], Batch],
    count: int,
    batch_size: int,
    seed: int,
    workers: int,
    rank: Rank,
) -> Any:
    """What `make` makes of the rows of this process in each batch, without end."""
    own = _own_rows(batch_size, rank)
    dataset = grain.MapDataset.range(count).seed(seed).shuffle()
    dataset = dataset.batch(batch_size, drop_remainder=True)  # [B], rows of the view
    dataset = dataset.map(lambda rows: make(rows[own]))
    dataset = dataset.repeat(reseed_each_epoch=True)
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * workers)
    return iter(dataset.to_iter_dataset(options))


def eval_batches(
    records: Records, view: View, batch_size: int, rank: Rank = (0, 1)
) -> Iterator[Batch]:
    """Every example once, in order; the last batch is filled up with rows of `valid` 0.

    Of several processes each has its rows of every batch, and as many batches as the others.

    Args:
      records: of the data set.
      view: which of them, with label and weight.
      batch_size: rows of a batch, of all processes.
      rank: number of this process, and of how many.
    """
    examples = Examples(records, view)
    for start in range(0, len(view), batch_size):
        own = range(start, start + batch_size)[_own_rows(batch_size, rank)]
        rows = [examples[i] for i in own if i < len(view)]
        filler = (rows[0] if rows else examples[start]) | {"valid": np.float32(0.0)}
        yield _stacked(rows + [filler] * (len(own) - len(rows)))


def _own_rows(batch_size: int, rank: Rank) -> slice:
    number, count = rank
    return slice(number * batch_size // count, (number + 1) * batch_size // count)


def _stacked(rows: Sequence[dict[str, Any]]) -> Batch:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class WithReplacements:
    """Training batches some of whose rows give way to others, with get_state() and set_state().

    What a batch gets depends on the seed and on the number of batches before it alone, so a resumed
    run is the uninterrupted one.
    """

    def __init__(self, batches: Any, seed: int):
        """Wraps `batches`; nothing is replaced before `replace` is called.

        Args:
          batches: of `train_batches`.
          seed: of what is replaced by what.
        """
        self._batches, self._seed, self._count = batches, seed, 0
        self._pools: list[tuple[int, Sequence[dict[str, np.ndarray]], float]] = []

    def replace(
        self, records: Sequence[dict[str, np.ndarray]], share: float, from_batch: int
    ) -> None:
        """Has each row with label 0 give way to one of `records` with probability `share`.

        Args:
          records: image, mask and extent, as the others have them; they take the place of those of
            an earlier call.
          share: in [0, 1].
          from_batch: number of the first batch that is changed, counted from 0: one that is trained
            on again after a damaged checkpoint stays as it was.
        """
        self._pools.append((from_batch, list(records), share))

    def __iter__(self) -> "WithReplacements":
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches)
        rng = np.random.default_rng([self._seed, self._count])
        pools = [(pool, share) for first, pool, share in self._pools if first <= self._count]
        records, share = pools[-1] if pools else ([], 0.0)
        self._count += 1
        chosen = (batch["label"] == 0) & (rng.random(len(batch["label"])) < share)
        if not len(records) or not chosen.any():
            return batch
        batch = {name: np.array(values) for name, values in batch.items()}
        for row in np.flatnonzero(chosen):
            record = records[int(rng.integers(len(records)))]
            for name in _ARRAYS:
                batch[name][row] = record[name]
        return batch

    def get_state(self) -> dict[str, Any]:
        """Where the batches stand, as JSON values."""
        return {"batches": self._batches.get_state(), "count": self._count}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to where `get_state` was called."""
        self._batches.set_state(state["batches"])
        self._count = state["count"]

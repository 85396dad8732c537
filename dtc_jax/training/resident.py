"""A training set that is kept on the devices, so that no batch is stacked and copied there.

It is read and placed once, whole on every device; what travels to them for a batch is the numbers
of its rows, which the compiled step takes from the set (`steps.gathered`). The order of the
examples and the state of the batches are those of `batches.train_batches`: the parameters after any
step are the same, bit for bit on a CPU, and a run may change between the two when it is resumed.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dtc_jax.errors import no_memory_is_an_input_error
from dtc_jax.training import batches
from dtc_jax.training.batches import Examples, Rank, Records, View
from dtc_jax.training.parallel import Parallel
from dtc_jax.training.task import Batch

AUTO, ALWAYS, NEVER = CHOICES = ("auto", "always", "never")  # of config.data.on_device
MOST_BYTES = 2 * 2**30  # of a set that AUTO keeps there: beside a network, small on any accelerator


class Resident:
    """Training batches as rows of a set, with get_state() and set_state()."""

    def __init__(self, examples: Examples, index: np.ndarray, rows: Any):
        """Nothing is read yet.

        Args:
          examples: the set, of N.
          index: of each example in the data set. # [N]
          rows: of `batches.train_rows`, the batches.
        """
        self.examples, self.index = examples, index
        self._rows = rows
        self.get_state, self.set_state = rows.get_state, rows.set_state

    def __iter__(self) -> "Resident":
        return self

    def __next__(self) -> Batch:
        """{"row": int32 [B]}, or the rows of this process."""
        return next(self._rows)


def train_batches(
    records: Records,
    view: View,
    batch_size: int,
    seed: int,
    workers: int,
    rank: Rank,
    *,
    on_device: str,
) -> Any:
    """`batches.train_batches`, from the host or as rows of a set on the devices.

    Rows that give way to others on the host (`batches.WithReplacements`) need NEVER.

    Args:
      records: the stored crops.
      view: the training split.
      batch_size: rows of the global batch.
      seed: of the order.
      workers: reading threads.
      rank: of this process.
      on_device: one of `CHOICES`, see `is_kept`.
    """
    examples = Examples(records, view)
    if is_kept(on_device, examples):
        rows = batches.train_rows(len(view), batch_size, seed, workers, rank)
        return Resident(examples, np.asarray(view.positions), rows)
    return batches.train_batches(records, view, batch_size, seed, workers, rank)


def is_kept(on_device: str, examples: Examples) -> bool:
    """Whether the set is kept on the devices: by AUTO on an accelerator, where it is small.

    The memory of a CPU is that of the host, and nothing is copied there.
    """
    if on_device != AUTO:
        return on_device == ALWAYS
    return jax.default_backend() != "cpu" and size(examples) <= MOST_BYTES


def size(examples: Examples) -> int:
    """Bytes of all examples; one is read, as they are of one size."""
    return len(examples) * sum(np.asarray(value).nbytes for value in examples[0].values())


def placed(train_batches: Any, parallel: Parallel, say: Callable[[str], None]) -> Batch:
    """Reads the set of `Resident` batches and places it: what the step needs beside a batch.

    Args:
      train_batches: of `train_batches`.
      parallel: places it.
      say: gets a sentence on it.

    Returns:
      {"set": arrays [N, ...] on every device}; {} where the batches come from the host.

    Raises:
      InputError: it does not fit into memory.
    """
    if not isinstance(train_batches, Resident):
        return {}
    examples, count = train_batches.examples, len(parallel.devices)
    what = f"The training set ({len(examples)} examples, {size(examples) / 1e6:,.1f} MB)"
    where = "the device" if count == 1 else f"each of the {count} devices"
    say(f"{what} is kept on {where}.")
    advice = "Set config.data.on_device to 'never', and each batch is copied there."
    with no_memory_is_an_input_error(what, advice):
        return {"set": jax.block_until_ready(parallel.place(_stacked(examples)))}


def index(train_batches: Any, batch: Batch) -> np.ndarray:
    """The numbers in the data set of the examples of a host batch. # [B]"""
    if isinstance(train_batches, Resident):
        return train_batches.index[batch["row"]]
    return np.asarray(batch["index"])


def _stacked(examples: Examples) -> Batch:
    """All of them, read one by one into place: two copies might not fit. # [N, ...]"""
    arrays = {
        name: np.empty((len(examples), *np.shape(value)), np.asarray(value).dtype)
        for name, value in examples[0].items()
    }
    for i in range(len(examples)):
        for name, value in examples[i].items():
            arrays[name][i] = value
    return arrays

"""The seam between the trainer and what it trains: a `Task` is a handful of pure functions.

The loop, the steps, the checkpoints and the logs know nothing else of a task, so classification
and segmentation share one trainer.

A batch is a dict of arrays of one global batch of B examples:
  image int16 [B, d, h, w] (HU), mask uint8 [B, d, h, w], extent int32 [B, 3, 2],
  label float32 [B], weight float32 [B] (of the example in the loss), index int32 [B] (the example's
  number in the data set, from which its random numbers come), valid float32 [B] (0 for the rows
  that pad the last batch of an evaluation). In training, where the task has further targets, also
  targets float32 [B, T], NaN where unknown.
Where the training set is kept on the devices, a batch is row int32 [B] until the step has taken
these rows from it, see `resident`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import flax.struct
import jax
import numpy as np

Batch = dict[str, Any]
PyTree = Any


@flax.struct.dataclass
class LossOut:
    """The loss of some rows: sums and counts, never means, so that devices can be added up.

    Attributes:
      sum: scalar; the summed, weighted loss. The step minimises sum / weight of the global batch.
      weight: scalar; the summed weights of the rows behind `sum`.
      metrics: name -> (sum, count), both scalar; logged as the ratio of their totals.
      batch_stats: the running statistics after this batch.
    """

    sum: jax.Array
    weight: jax.Array
    metrics: dict[str, tuple[jax.Array, jax.Array]]
    batch_stats: PyTree


@dataclasses.dataclass(frozen=True)
class Task:
    """What to learn. Every function but `summarize` is pure and is traced by JAX.

    Attributes:
      init: key -> (params, batch_stats).
      loss: (params, batch_stats, batch, keys [B], axis_name) -> LossOut. `keys` has one key for
        each example, for augmentation and dropout; `axis_name` is the mapped axis over which
        batch normalisation must average, or None when the whole global batch is in sight.
      predict: (params, batch_stats, batch) -> dict of arrays [B, ...].
      summarize: predictions of a whole split (NumPy, padded rows removed) -> metric values.
      monitor: the metric of `summarize` by which the best checkpoint is chosen.
      mode: whether the larger ('max') or the smaller ('min') monitored value is better; or 'last':
        whatever it is, the later one.
    """

    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    loss: Callable[[PyTree, PyTree, Batch, jax.Array, str | None], LossOut]
    predict: Callable[[PyTree, PyTree, Batch], dict[str, jax.Array]]
    summarize: Callable[[Sequence[dict[str, np.ndarray]]], dict[str, float]]
    monitor: str
    mode: Literal["max", "min", "last"] = "max"

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether the monitored `value` beats `best` (None: nothing to beat); a tie does not."""
        if best is None or self.mode == "last":
            return True
        return value > best if self.mode == "max" else value < best


class TrainBatches(Protocol):
    """An endless iterator of batches with a position that can be written as JSON."""

    def __next__(self) -> Batch:
        """The next batch, as NumPy arrays."""

    def get_state(self) -> Any:
        """The position after the batches handed out so far."""

    def set_state(self, state: Any) -> None:
        """Goes to a position that `get_state` gave."""

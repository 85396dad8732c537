"""Predictions of a network over a whole split, on the host."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from dtc_jax.training import interrupt, programs
from dtc_jax.training import parallel as parallel_lib
from dtc_jax.training.task import Batch, PyTree, Task

Predictions = list[dict[str, np.ndarray]]


def predict(
    task: Task,
    params: PyTree,
    batch_stats: PyTree,
    batches: Iterable[Batch],
    parallel: str = "jit",
    devices: Sequence[jax.Device] | None = None,
) -> Predictions:
    """Predictions of a network on the host, batch by batch and without the padded rows.

    Args:
      task: gives the prediction.
      params: of one network.
      batch_stats: of the same.
      batches: on the host, see `batches.eval_batches`.
      parallel: 'jit' or 'pmap'.
      devices: those to use; None for all.
    """
    how = parallel_lib.make(parallel, devices)
    step = programs.prediction(task, how)
    with jax.transfer_guard("disallow"):
        predictions = predict_placed(
            how, step, how.place(params), how.place(batch_stats), batches, None
        )
    assert predictions is not None  # nothing interrupts it
    return predictions


def predict_placed(
    how: parallel_lib.Parallel,
    step: Callable[..., Any],
    params: PyTree,
    batch_stats: PyTree,
    batches: Iterable[Batch],
    stop: interrupt.Interrupt | None,
) -> Predictions | None:
    """Predictions of arrays that are on the devices; None if `stop` was set before the end.

    With several processes, `batches` are the rows of this one, and each gets the predictions of
    all; `stop` must be None, as they would not end at the same batch.
    """
    predictions: Predictions = []

    def collect(result: dict[str, jax.Array]) -> None:
        rows = how.rows(result)
        is_valid = rows.pop("valid") > 0
        predictions.append({name: values[is_valid] for name, values in rows.items()})

    running = None  # one batch is computed while the one before it is fetched
    for batch in batches:
        if stop:
            return None
        placed = how.shard(batch)
        result = step(params, batch_stats, placed)
        if running is not None:
            collect(running)
        running = result | {"valid": placed["valid"]}
    if running is not None:
        collect(running)
    return predictions

"""One of several processes that train the tiny network together; started by hosts_test.py.

    python -m tests.training.host_worker COORDINATOR WORKDIR COUNT NUMBER KEPT SIGNALLED AT SIGNAL

KEPT: 1 for a training set that is kept on the devices.
SIGNALLED: number of the process that gets the signal of number SIGNAL while it makes batch AT; -1
for none. With COUNT 1 the process is an ordinary one. Prints what became of it, a line of JSON.
"""

import contextlib
import io
import json
import pathlib
import sys

import jax
import numpy as np

from dtc_jax import progress
from dtc_jax.errors import Stopped
from dtc_jax.training import hosts, parallel
from tests.training import conftest


class OwnRows:
    """The rows of this process of each batch."""

    def __init__(self, batches):
        self._batches = batches
        self.get_state, self.set_state = batches.get_state, batches.set_state

    def __next__(self):
        return own_rows(next(self._batches))


def own_rows(batch):
    number, count = hosts.rank()
    size = parallel.rows_of(batch) // count
    return {name: rows[number * size : (number + 1) * size] for name, rows in batch.items()}


def shown_progress():
    """What this process shows of slow work."""
    progress._SECONDS_BETWEEN_LINES = 0.0
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        assert list(progress.track([3], "work")) == [3]
    return shown.getvalue()


def main(
    coordinator: str,
    workdir: pathlib.Path,
    count: int,
    number: int,
    is_kept: int,
    signalled: int,
    *at: int,
) -> None:
    if count > 1:
        hosts.join(coordinator, count, number)
    tiny = conftest.Tiny
    kind = tiny.TrainRows if is_kept else tiny.TrainBatches
    made = OwnRows(kind(*at) if number == signalled else kind())
    said: dict[str, object] = {"devices": jax.device_count(), "processes": jax.process_count()}
    said["progress"] = shown_progress()
    try:
        with hosts.ended_together():
            fitted = tiny.fit(
                workdir,
                tiny.kept(made) if is_kept else made,
                lambda: map(own_rows, tiny.validation_batches()),
                devices=None,
            )
    except Stopped as stopped:
        said["stopped"] = str(stopped)
    else:
        leaves = jax.tree.leaves((fitted.params, fitted.batch_stats))
        said["values"] = np.concatenate([leaf.ravel() for leaf in leaves]).tolist()
        said["best"] = fitted.best_metrics
    print(json.dumps(said), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    address, workdir, *numbers = sys.argv[1:]
    main(address, pathlib.Path(workdir), *map(int, numbers))

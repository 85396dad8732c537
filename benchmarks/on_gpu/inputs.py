"""The stage `input`: how long a training waits for its crops.

As in a training, records of int16 HU and uint8 masks lie in the host's memory, threads stack them
to batches, `parallel.shard` sends each to the device while the step before it runs, and they are
augmented there. The threads are rebuilt, as Grain need not be installed: so many of them, and
twice as many batches ahead, as `dtc_jax.training.batches` has. While another peer is timed, all of
these get ready: they are thrown away and a step is made before a sample, which is longer than they.
"""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from benchmarks.on_gpu import in_jax
from benchmarks.on_gpu.cases import Case
from benchmarks.on_gpu.session import Session, named, turns_of
from benchmarks.on_gpu.timing import Peer
from dtc_jax.training import augment, steps
from dtc_jax.training.task import Batch, PyTree, Task

_THREADS = (2, 8)  # 2 is `config.data.workers`
_POOL = 4  # batches of records in memory
_NO_WAIT = 0.02  # of the time, by which two runs of the same step differ


class Reader:
    """Batches of drawn records, stacked row by row by threads, some of them ahead."""

    def __init__(self, pool: Sequence[dict[str, Any]], batch: int, threads: int) -> None:
        """Args: pool: the records; batch: rows; threads: 0 stacks when asked."""
        self._pool, self._batch, self._threads = pool, batch, threads
        self.ahead = 2 * threads
        self._rng = np.random.default_rng(0)
        self._queue: collections.deque = collections.deque()
        self._workers = concurrent.futures.ThreadPoolExecutor(max(1, threads))

    def __next__(self) -> Batch:
        if not self._threads:
            return self._stacked(self._rows())
        while len(self._queue) <= self.ahead:
            self._queue.append(self._workers.submit(self._stacked, self._rows()))
        return self._queue.popleft().result()

    def __iter__(self) -> "Reader":
        return self

    def drain(self) -> None:
        """Throws away what is ready, so that what comes next is read while it is waited for."""
        for _ in range(self.ahead):
            next(self)

    def _rows(self) -> np.ndarray:
        return self._rng.choice(len(self._pool), self._batch, replace=False)

    def _stacked(self, rows: np.ndarray) -> Batch:
        return {name: np.stack([self._pool[i][name] for i in rows]) for name in self._pool[0]}


def stage_input(session: Session) -> None:
    """For each network: the step alone, and the ways to feed it."""
    rows = [(case, "bf16", case.input_batch) for case in session.sizes.cases[:2]]
    for case, dtype, batch in session.budget.rows("input", rows, lambda row: named(*row)):
        _one(session, case, dtype, batch)


def _one(session: Session, case: Case, dtype: str, batch: int) -> None:
    stored = in_jax.records(case, _POOL * batch)
    first = {name: values[:batch] for name, values in stored.items()}
    task = in_jax.make_task(case, dtype, augmented=True)
    training = in_jax.training(task, first)
    pool = [{name: values[i] for name, values in stored.items()} for i in range(_POOL * batch)]
    there = training.how.shard(first)
    made = functools.partial(Peer, compile_s=training.compile_s, peak_gib=training.peak_gib)

    def fed(threads: int) -> Peer:
        reader = Reader(pool, batch, threads)

        def run(turns: int) -> None:
            training.run(_sent(training, reader, turns, wait=not threads))

        def before() -> None:
            reader.drain()
            run(1)  # the threads go on meanwhile, as between any two steps

        run(1)
        return made(run, before=before, least_turns=reader.ahead + 1)

    makers: dict[str, Callable[[], Peer]] = {
        "step alone": lambda: made(lambda turns: training.run([there] * turns)),
        "step without augmentation": functools.partial(in_jax.train_peer, case, dtype, batch),
        "augmentation alone": functools.partial(_augmentation, case, there),
        "stacking alone": lambda: _stacking(pool, batch),
        "sending alone": lambda: _sending(training, first),
        **{f"fed by {n} threads": functools.partial(fed, n) for n in _THREADS},
        "fed in turn": functools.partial(fed, 0),
        "kept on the device": functools.partial(_resident, task, stored, batch),
    }
    seconds = session.timed("input", case.name, dtype, batch, makers)
    alone, row = seconds.get("step alone"), {"case": case.name, "dtype": dtype, "batch": batch}
    for name, turn in seconds.items():
        if alone and name.startswith(("fed", "kept")):
            waits = max(0.0, 1 - alone / turn)
            goal = "met" if waits <= _NO_WAIT else "missed"
            note = f"waits {waits:.1%} of the time; goal 'never' {goal}"
            session.table.add("input", **row, peer=name, note=note)
    size = sum(values.nbytes for values in first.values()) / 1e9
    if "sending alone" in seconds:
        rate = size / seconds["sending alone"]
        session.table.add("input", **row, peer="sending alone", rate=rate, unit="GB/s")


def _sent(training: in_jax.Training, reader: Reader, turns: int, wait: bool):
    """The batches of some turns, each on its way when it is asked for; or there, if we wait."""
    for _ in range(turns):
        batch = training.how.shard(next(reader))
        if wait:
            jax.block_until_ready((training.state, batch))
        yield batch


def _augmentation(case: Case, batch: Batch) -> Peer:
    spec, strength = in_jax.preprocess_spec(case), SimpleNamespace(**case.augment)
    one = functools.partial(augment.augment, spec=spec, strength=strength)

    @jax.jit
    def drawn(batch: Batch) -> Any:
        keys = steps.example_keys(0, 0, batch["index"])
        return jax.vmap(one)(keys, batch["image"], batch["mask"], batch["extent"])

    return turns_of(lambda: drawn(batch), jax.block_until_ready)


def _stacking(pool: Sequence[dict[str, Any]], batch: int) -> Peer:
    reader = Reader(pool, batch, 0)
    return turns_of(lambda: next(reader), lambda _: None)


def _sending(training: in_jax.Training, batch: Batch) -> Peer:
    send = training.how.shard
    return turns_of(lambda: jax.block_until_ready(send(batch)), lambda _: None)


def gathering(task: Task) -> Task:
    """The task with batches that have the numbers of the records, and `whole`, all of them."""

    def loss(params: PyTree, stats: PyTree, told: Batch, keys: jax.Array, axis_name: str | None):
        rows = {name: values[told["index"]] for name, values in told["whole"].items()}
        return task.loss(params, stats, rows, keys, axis_name)

    return dataclasses.replace(task, loss=loss)


def _resident(task: Task, stored: Batch, batch: int) -> Peer:
    """All records on the device; a step is told their numbers, and gathers them there."""
    rng = np.random.default_rng(0)
    told = {"index": np.arange(batch, dtype=np.int32), "valid": np.ones(batch, np.float32)}
    training = in_jax.training(gathering(task), told | {"whole": stored})
    whole = training.how.shard({"valid": told["valid"], "whole": stored})["whole"]

    def some() -> Batch:
        chosen = rng.choice(len(stored["index"]), batch, replace=False).astype(np.int32)
        return training.how.shard(told | {"index": chosen}) | {"whole": whole}

    def run(turns: int) -> None:
        training.run(some() for _ in range(turns))

    run(1)
    return Peer(run, training.compile_s, training.peak_gib)

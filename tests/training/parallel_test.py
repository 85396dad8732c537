"""One pure step, compiled two ways for any number of devices, gives one answer."""

import jax
import numpy as np
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.training import parallel, predictions, state, steps

# Sums over devices associate differently; four Adam steps on losses near 1 stay within this.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-6}


def _train(tiny, kind, count, n_steps=4):
    how = parallel.make(kind, jax.devices()[:count])
    step = steps.make_train_step(tiny.task, tiny.optimizer, seed=3, ema_decay=0.9)
    train = how.compile_train(lambda: step)
    first = jax.jit(lambda: state.create(tiny.task, tiny.optimizer, seed=3, ema=True))()
    now = how.place(jax.device_get(first))
    batches = tiny.TrainBatches()
    history = []
    with jax.transfer_guard("disallow"):
        for _ in range(n_steps):
            now, metrics = train(now, how.shard(next(batches)))
            history.append(metrics)
        return how.fetch(now), how.fetch(history)


@pytest.fixture(scope="module")
def reference(tiny):
    return _train(tiny, "jit", 1)


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("jit", 8),
        ("pmap", 2),
        *(
            pytest.param(*way, marks=pytest.mark.extras)
            for way in (("jit", 2), ("pmap", 1), ("pmap", 8))
        ),
    ],
)
def test_every_way_to_run_gives_the_same_parameters(tiny, reference, kind, count):
    got, history = _train(tiny, kind, count)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), got, reference[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), history, reference[1])
    assert int(got.step) == 4


def test_training_moves_parameters_statistics_and_average(tiny, reference):
    start = jax.jit(lambda: state.create(tiny.task, tiny.optimizer, seed=3, ema=True))()
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), start, reference[0])
    assert all(jax.tree.leaves((moved.params, moved.batch_stats, moved.ema, moved.opt_state)))
    averages = jax.tree.map(np.array_equal, reference[0].ema, reference[0].params)
    assert not any(jax.tree.leaves(averages))


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_donation_touches_neither_what_was_placed_nor_what_was_fetched(tiny, kind):
    how = parallel.make(kind, jax.devices()[:2])
    step = steps.make_train_step(tiny.task, tiny.optimizer, seed=3)
    train = how.compile_train(lambda: step)
    created = jax.jit(lambda: state.create(tiny.task, tiny.optimizer, seed=3, ema=False))()
    host = jax.tree.map(np.array, jax.device_get(created))
    batch = how.shard(tiny.rows(np.arange(8)))
    now, _ = train(how.place(host), batch)
    fetched = how.fetch(now)
    kept = jax.tree.map(np.copy, fetched)
    for _ in range(3):
        now, _ = train(now, batch)
    jax.block_until_ready(now)
    jax.tree.map(np.testing.assert_array_equal, host, jax.device_get(created))
    jax.tree.map(np.testing.assert_array_equal, fetched, kept)


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_predictions_leave_out_the_padded_rows(tiny, reference, kind):
    trained = reference[0]
    got = predictions.predict(
        tiny.task, trained.params, trained.batch_stats, tiny.validation_batches(), kind
    )
    assert [p["index"].tolist() for p in got] == [list(range(8)), [8, 9]]
    batch = tiny.rows(np.arange(10))
    wanted = tiny.task.predict(trained.params, trained.batch_stats, batch)["logit"]
    np.testing.assert_allclose(np.concatenate([p["logit"] for p in got]), wanted, rtol=1e-5)


def test_a_batch_that_does_not_divide_is_refused_by_name(tiny):
    with pytest.raises(UsageError, match=r"config\.train\.batch_size.* multiple of 8"):
        parallel.make("jit").shard(tiny.rows(np.arange(6)))


def test_pmap_is_for_one_process_alone(monkeypatch):
    def of_two(self, devices=None):
        self._processes = 2

    monkeypatch.setattr(parallel.Parallel, "__init__", of_two)
    with pytest.raises(UsageError, match=r"'pmap', which trains in one process"):
        parallel.make("pmap")


def test_an_unknown_way_to_run_is_refused():
    with pytest.raises(UsageError, match=r"config\.parallel='tpu': choose one of jit, pmap"):
        parallel.make("tpu")

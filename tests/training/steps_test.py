"""What a step minimises, which numbers it draws, and what it notes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dtc_jax.training import state, steps
from dtc_jax.training.task import LossOut, Task


def _quadratic():
    """Loss (w - label)^2 / 2 of one parameter, weighted by `valid`; its gradient is known."""

    def loss(params, batch_stats, batch, keys, axis_name):
        errors = params["w"] - batch["label"]
        return LossOut(
            sum=jnp.sum(batch["valid"] * errors**2 / 2),
            weight=jnp.sum(batch["valid"]),
            metrics={},
            batch_stats=batch_stats,
        )

    return Task(
        init=lambda key: ({"w": jnp.zeros(())}, {}),
        loss=loss,
        predict=lambda params, batch_stats, batch: {},
        summarize=lambda predictions: {},
        monitor="loss",
    )


def _batch(labels, weights):
    labels = np.asarray(labels, np.float32)
    return {
        "label": labels,
        "valid": np.asarray(weights, np.float32),
        "index": np.arange(len(labels), dtype=np.int32),
    }


def test_gradient_is_the_weighted_mean_over_the_rows():
    optimizer = optax.sgd(0.5)
    step = jax.jit(steps.make_train_step(_quadratic(), optimizer, seed=0))
    now = state.create(_quadratic(), optimizer, seed=0, ema=False)
    now, metrics = step(now, _batch([1.0, 5.0, 99.0], [3.0, 1.0, 0.0]))
    assert float(now.params["w"]) == pytest.approx(0.5 * (3 * 1 + 5) / 4)
    assert [float(x) for x in metrics["loss"]] == pytest.approx([(3 * 1 + 25) / 2, 4.0])
    assert float(metrics["grad_norm"][0]) == pytest.approx(2.0)
    assert now.ema is None


def test_a_batch_in_which_nothing_counts_changes_nothing():
    optimizer = optax.sgd(0.5)
    step = jax.jit(steps.make_train_step(_quadratic(), optimizer, seed=0))
    before = state.create(_quadratic(), optimizer, seed=0, ema=False)
    now, metrics = step(before, _batch([1.0, 5.0], [0.0, 0.0]))
    assert float(now.params["w"]) == float(before.params["w"])
    assert int(now.first_bad_step) == state.NEVER
    assert [float(x) for x in metrics["loss"]] == [0, 0]


def test_average_leaves_the_start_quickly_and_then_decays_as_told():
    optimizer = optax.sgd(0.5)
    step = jax.jit(steps.make_train_step(_quadratic(), optimizer, seed=0, ema_decay=0.3))
    now = state.create(_quadratic(), optimizer, seed=0, ema=True)
    average = 0.0
    for t in range(1, 8):
        now, _ = step(now, _batch([1.0], [1.0]))
        kept = min(0.3, (1 + t) / (10 + t))
        average = kept * average + (1 - kept) * float(now.params["w"])
        assert float(now.ema["w"]) == pytest.approx(average)


def test_the_first_bad_step_is_noted_and_stays():
    optimizer = optax.sgd(0.5)
    step = jax.jit(steps.make_train_step(_quadratic(), optimizer, seed=0))
    now = state.create(_quadratic(), optimizer, seed=0, ema=False)
    seen = []
    for label in (1.0, 1.0, np.nan, 1.0):
        now, _ = step(now, _batch([label], [1.0]))
        seen.append(int(now.first_bad_step))
    assert seen == [state.NEVER, state.NEVER, 3, 3]


def _two_steps(task, optimizer, batch, accumulate):
    made = steps.make_train_step(task, optimizer, seed=0, ema_decay=0.9, accumulate=accumulate)
    step = jax.jit(made)
    now = jax.jit(lambda: state.create(task, optimizer, seed=0, ema=True))()
    for _ in range(2):
        now, metrics = step(now, batch)
    return now, metrics


def test_accumulated_parts_make_the_step_of_the_whole_batch():
    optimizer = optax.adam(0.1)
    batch = _batch([1.0, 5.0, 99.0, 2.0, 7.0, 3.0], [3.0, 1.0, 0.0, 1.0, 2.0, 0.5])
    whole = _two_steps(_quadratic(), optimizer, batch, 1)
    for parts in (2, 3):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
            _two_steps(_quadratic(), optimizer, batch, parts),
            whole,
        )


def test_batch_normalisation_alone_tells_parts_from_a_whole(tiny):
    batch = tiny.rows(np.arange(8))
    (whole, _), (parts, _) = (_two_steps(tiny.task, tiny.optimizer, batch, n) for n in (1, 2))
    assert int(parts.step) == 2
    statistics = [jax.tree.leaves(now.batch_stats) for now in (whole, parts)]
    assert not any(np.array_equal(a, b) for a, b in zip(*statistics, strict=True))
    # The running mean at momentum .9 goes 1 - .9^2 of the way in two steps, 1 - .9^4 in four parts.
    mean = [float(np.abs(now.batch_stats["BatchNorm_0"]["mean"]).sum()) for now in (whole, parts)]
    assert mean[1] / mean[0] == pytest.approx((1 - 0.9**4) / (1 - 0.9**2), rel=0.1)
    gap = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), parts.params, whole.params)
    assert 0 < max(jax.tree.leaves(gap)) < 0.1


def test_keys_follow_the_example_and_the_step_not_the_place():
    def draw(step, index):
        keys = steps.example_keys(7, jnp.int32(step), jnp.asarray(index))
        return [int(bits) for bits in jax.vmap(jax.random.bits)(keys)]

    a, b, c = draw(5, [10, 11, 12])
    assert draw(5, [12, 10, 11]) == [c, a, b]
    assert len({a, b, c, *draw(6, [10, 11, 12])}) == 6


@pytest.mark.extras
def test_a_first_state_is_the_same_at_either_level_of_the_compiler():
    """Its random numbers, that is: the trainer compiles them quickly."""
    draw = lambda: nn.initializers.he_normal()(jax.random.key(3), (3, 3, 3, 8, 16))  # noqa: E731
    levels = [{"xla_backend_optimization_level": level} for level in (1, 3)]
    quickly, usually = (jax.jit(draw, compiler_options=level)() for level in levels)
    np.testing.assert_array_equal(quickly, usually)

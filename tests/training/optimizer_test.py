"""The moves of each optimizer, worked out by hand or taken from optax."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.models.senet import SENet
from dtc_jax.training import optimizer

PARAMS = {
    "conv": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])},
    "norm": {"scale": jnp.array([4.0]), "bias": jnp.array([5.0])},
}


def _config(**changes):
    fields = {
        "name": "adamw",
        "learning_rate": 0.1,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "momentum": 0.0,
    }
    return types.SimpleNamespace(**fields | changes)


def _step(config, gradients, total_steps=10):
    made = optimizer.make_optimizer(config, total_steps)
    updates, _ = made.update(gradients, made.init(PARAMS), PARAMS)
    return updates


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_without_a_gradient_only_kernels_shrink(name):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates = _step(_config(name=name, weight_decay=0.5), zeros)
    np.testing.assert_allclose(updates["conv"]["kernel"], [[-0.05, 0.1]], rtol=1e-6)
    for leaf in (updates["conv"]["bias"], updates["norm"]["scale"], updates["norm"]["bias"]):
        assert float(leaf[0]) == 0


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_is_not_carried_on_by_the_momentum(name):
    made = optimizer.make_optimizer(_config(name=name, weight_decay=0.05, momentum=0.9), 50)
    params, state, zeros = PARAMS, made.init(PARAMS), jax.tree.map(jnp.zeros_like, PARAMS)
    for _ in range(50):
        updates, state = made.update(zeros, state, params)
        params = optax.apply_updates(params, updates)
    kernel = params["conv"]["kernel"]
    np.testing.assert_allclose(kernel, PARAMS["conv"]["kernel"] * (1 - 0.1 * 0.05) ** 50, rtol=1e-5)


def test_in_a_network_kernels_decay_and_norms_and_biases_do_not():
    params = jax.eval_shape(
        lambda: SENet(width=4).init(jax.random.key(0), jnp.zeros((1, 32, 32, 32, 1)), train=False)
    )["params"]
    for path, decays in jax.tree_util.tree_leaves_with_path(optimizer.decay_mask(params)):
        assert decays == (path[-1].key == "kernel"), jax.tree_util.keystr(path)


def test_adam_and_sgd_move_as_those_of_optax():
    gradients = jax.tree.map(lambda x: 0.3 * x + 1, PARAMS)
    for ours, theirs in (
        (_config(name="adam"), optax.adam(0.1)),
        (_config(name="sgd", momentum=0.9), optax.sgd(0.1, 0.9, nesterov=True)),
    ):
        expected, _ = theirs.update(gradients, theirs.init(PARAMS), PARAMS)
        jax.tree.map(np.testing.assert_allclose, _step(ours, gradients), expected)


def test_clipping_bounds_the_global_norm_of_the_gradient():
    gradients = jax.tree.map(lambda x: 100 * x, PARAMS)
    updates = _step(_config(name="sgd", learning_rate=1.0, clip_norm=2.0), gradients)
    assert float(optax.tree.norm(updates)) == pytest.approx(2, rel=1e-5)
    small = jax.tree.map(lambda x: 0.01 * x, PARAMS)
    jax.tree.map(
        lambda u, g: np.testing.assert_allclose(u, -g, rtol=1e-6),
        _step(_config(name="sgd", learning_rate=1.0, clip_norm=2.0), small),
        small,
    )


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("cosine", 0.5, 0), ("linear", 0.5, 0), ("constant", 1, 1)]
)
def test_the_rate_rises_to_its_peak_and_follows_the_schedule(schedule, middle, end):
    rate = optimizer.make_schedule(_config(schedule=schedule, warmup_fraction=0.2), 100)
    assert float(rate(10)) == pytest.approx(0.05)
    assert float(rate(20)) == pytest.approx(0.1)
    assert float(rate(60)) == pytest.approx(0.1 * middle)
    assert float(rate(100)) == pytest.approx(0.1 * end, abs=1e-8)
    assert float(optimizer.make_schedule(_config(schedule=schedule), 100)(0)) == pytest.approx(0.1)


def test_unknown_names_are_refused_with_the_nearest_known():
    with pytest.raises(UsageError, match=r"config.optimizer.name is 'adamm'.*Did you mean 'adam"):
        optimizer.make_optimizer(_config(name="adamm"), 10)
    with pytest.raises(UsageError, match=r"config.optimizer.schedule .*Did you mean 'cosine'"):
        optimizer.make_optimizer(_config(schedule="cosin"), 10)

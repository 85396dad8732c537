"""The building blocks against closed forms and against the same thing written out in NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.models import layers


def test_max_pool_takes_the_largest_of_each_window_and_drops_the_rest():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 7, 3)).astype(np.float32)
    y = layers.max_pool(jnp.asarray(x), (2, 1, 3))  # [2, 2, 4, 2, 3]
    assert y.shape == (2, 2, 4, 2, 3)
    for d, h, w in np.ndindex(2, 4, 2):
        window = x[:, 2 * d : 2 * d + 2, h, 3 * w : 3 * w + 3]
        np.testing.assert_array_equal(y[:, d, h, w], window.max(axis=(1, 2)))


def test_max_pool_says_when_the_map_is_too_small():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) cannot be pooled.*larger crop"):
        layers.max_pool(jnp.zeros((1, 1, 4, 4, 2)), (2, 2, 2))


def test_squeeze_excite_scales_channels_by_the_gate():
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5, 8)).astype(np.float32)
    module = layers.SqueezeExcite(ratio=4)
    y, variables = module.init_with_output(jax.random.key(0), jnp.asarray(x))
    params = jax.tree.map(np.asarray, variables["params"])
    assert params["squeeze"]["kernel"].shape == (8, 2)
    mean = x.mean(axis=(1, 2, 3))  # [B, C]
    hidden = np.maximum(mean @ params["squeeze"]["kernel"] + params["squeeze"]["bias"][None], 0)
    logits = hidden @ params["excite"]["kernel"] + params["excite"]["bias"][None]
    gate = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(y, x * gate[:, None, None, None, :], rtol=1e-5)


def test_squeeze_excite_keeps_one_hidden_unit_at_least():
    variables = layers.SqueezeExcite(ratio=16).init(jax.random.key(0), jnp.ones((1, 2, 2, 2, 4)))
    assert variables["params"]["squeeze"]["kernel"].shape == (4, 1)


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_normalization_gives_mean_zero_and_variance_one_over_its_own_axes(kind):
    x = 5 + 3 * jax.random.normal(jax.random.key(0), (4, 4, 4, 4, 16))
    layer = layers.normalization(kind, 16, True, jnp.float32, None, "norm")
    y, _ = layer.init_with_output(jax.random.key(0), x)
    y = np.asarray(y)
    if kind == "group":
        y = y.reshape(4, 64, 8, 2)  # eight groups of two channels
        axes = (1, 3)
    else:
        axes = (0, 1, 2, 3) if kind == "batch" else (1, 2, 3)
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-4)
    np.testing.assert_allclose(y.var(axis=axes), 1, atol=1e-3)


@pytest.mark.parametrize("kind", ["instance", "group"])
@pytest.mark.parametrize("spread", [0.0, 1e-3])
def test_a_norm_of_an_example_is_exact_where_it_is_nearly_uniform(kind, spread):
    x = 0.7 + spread * jax.random.normal(jax.random.key(0), (1, 8, 16, 16, 8))
    layer = layers.normalization(kind, 8, True, jnp.float32, None, "norm")
    y, variables = layer.init_with_output(jax.random.key(0), x)
    exact = np.asarray(x, float) - np.asarray(x, float).mean(axis=(1, 2, 3), keepdims=True)
    exact /= np.sqrt((exact**2).mean(axis=(1, 2, 3), keepdims=True) + 1e-6)
    np.testing.assert_allclose(y, exact, atol=1e-5)
    flax = nn.GroupNorm(num_groups=8).init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, flax) == jax.tree.map(jnp.shape, variables)


def test_groups_that_do_not_divide_the_channels_are_refused():
    layer = layers.normalization("group", 12, True, jnp.float32, None, "norm")
    with pytest.raises(ValueError, match="12 channels make no 8 groups"):
        layer.init(jax.random.key(0), jnp.zeros((1, 2, 2, 2, 12)))


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm='layer'"):
        layers.normalization("layer", 8, True, jnp.float32, None, "norm")


def test_dropout_draws_by_example_not_by_place():
    x, keys = jnp.ones((4, 1000)), jax.random.split(jax.random.key(0), 4)
    y = layers.dropout(x, keys, 0.3)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(layers.dropout(x[order], keys[order], 0.3), y[order])
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert float((y == 0).mean()) == pytest.approx(0.3, abs=0.03)


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean():
    x, keys = jnp.ones((1000, 2, 3)), jax.random.split(jax.random.key(0), 1000)
    y = np.asarray(layers.stochastic_depth(x, keys, 0.25))
    assert (y == y[:, :1, :1]).all()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert float(y.mean()) == pytest.approx(1.0, abs=0.05)


def _init(module, x):
    """Compiled whole: op by op takes longer."""
    return jax.jit(lambda: module.init(jax.random.key(0), x, train=False))()


def _apply(module, variables, x):
    return jax.jit(lambda v: module.apply(v, x, train=False))(variables)


@pytest.mark.parametrize("add", ["before_pool", "after_pool"])
@pytest.mark.parametrize("channels", [8, 4])
def test_a_stage_whose_branch_is_zero_is_its_shortcut(add, channels):
    """With the last norm's scale at 0 the branch vanishes, so what is left is known."""
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 4, channels))
    stage = layers.ResidualSEStage(8, add=add)
    variables = _init(stage, x)
    params = variables["params"]
    params["norm2"]["scale"] = jnp.zeros(8)
    y = _apply(stage, variables, x)
    shortcut = x if channels == 8 else x @ params["projection"]["kernel"]
    assert ("projection" in params) == (channels != 8)
    assert y.shape == (2, 2, 2, 2, 8)
    np.testing.assert_allclose(
        y, jax.nn.relu(layers.max_pool(shortcut, (2, 2, 2))), rtol=1e-5, atol=1e-6
    )


def test_addition_before_and_after_pooling_differ():
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 4, 4))
    variables = _init(layers.ResidualSEStage(4), x)
    before, after = (
        _apply(layers.ResidualSEStage(4, add=add), variables, x)
        for add in ("before_pool", "after_pool")
    )
    assert not np.allclose(before, after)
    assert np.all(after >= before - 1e-6)  # the sum of maxima is no less than the maximum of sums


def test_without_pooling_the_grid_stays():
    stage = layers.ResidualSEStage(4, pool_window=None)
    y, _ = stage.init_with_output(jax.random.key(0), jnp.ones((1, 3, 4, 5, 4)), train=False)
    assert y.shape == (1, 3, 4, 5, 4)

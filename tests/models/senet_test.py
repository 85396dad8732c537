"""SE-Net's parameter count, the shape of each of its parts, its switches, its gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.models.senet import SENet

PAPER_INPUT = (1, 32, 48, 48, 1)
SMALL = (2, 16, 16, 16, 1)


def _shapes(network, shape):
    """The variables' shapes and what is sown, without computing anything."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)


def _init(network, x):
    return jax.jit(lambda: network.init(jax.random.key(0), x, train=False))()


def _apply(network, variables, x):
    return jax.jit(lambda: network.apply(variables, x, train=False))()


def _count(network, shape=PAPER_INPUT):
    return sum(leaf.size for leaf in jax.tree.leaves(_shapes(network, shape)["params"]))


def test_the_default_reading_has_the_studys_parameter_count():
    assert _count(SENet()) == 14_509_297


@pytest.mark.parametrize(
    ("switch", "difference"),
    [
        ({"add": "after_pool"}, 0),
        ({"pool_window": (1, 2, 2)}, 0),
        ({"pool_last": False}, 0),
        ({"projection_bias": True}, 128 + 256 + 512),
        ({"conv_bias": True}, 64 + 2 * (64 + 128 + 256 + 512)),
        ({"norm": "instance"}, 0),
        ({"norm": "group"}, 0),
        # No convolution 1 -> 64 and no norm; the first stage projects 1 -> 64 and starts from 1.
        ({"stem": False}, -(27 * 64 + 128) + 64 - 27 * 64 * 64 + 27 * 64),
        ({"se_ratio": 8}, None),
        ({"se": False}, -sum(c // 4 * (2 * c + 1) + c for c in (64, 128, 256, 512))),
        ({"residual": False}, -(64 * 128 + 128 * 256 + 256 * 512)),
    ],
)
def test_each_switch_changes_the_count_by_what_it_says(switch, difference):
    if difference is None:
        channels = (64, 128, 256, 512)

        def gate(ratio):
            return sum(c // ratio * (2 * c + 1) + c for c in channels)

        difference = gate(8) - gate(4)
    assert _count(SENet(**switch)) - 14_509_297 == difference


@pytest.mark.parametrize(
    ("switch", "features"),
    [
        ({}, (1, 2, 3, 3, 512)),
        ({"pool_last": False}, (1, 4, 6, 6, 512)),
        ({"pool_window": (1, 2, 2)}, (1, 32, 3, 3, 512)),
        ({"stages": 3}, (1, 4, 6, 6, 256)),
        ({"stem_stride": 2, "stages": 3}, (1, 2, 3, 3, 256)),
    ],
)
def test_the_last_feature_map_has_the_shape_of_the_reading(switch, features):
    network = SENet(**switch)
    variables = _shapes(network, PAPER_INPUT)
    x = jax.ShapeDtypeStruct(PAPER_INPUT, jnp.float32)
    logits, sown = jax.eval_shape(
        lambda v, x: network.apply(v, x, train=False, mutable=["intermediates"]), variables, x
    )
    assert sown["intermediates"]["features"][0].shape == features
    assert logits.shape == (1,)


@pytest.mark.extras
@pytest.mark.parametrize(
    ("norm", "dtype"),
    [("batch", jnp.bfloat16), ("instance", jnp.float32), ("group", jnp.float32)],
)
def test_a_gradient_reaches_every_leaf(norm, dtype):
    network = SENet(width=4, stages=2, norm=norm, dtype=dtype, dropout=0.1)
    x = jax.random.normal(jax.random.key(1), SMALL)
    variables = _init(network, x)

    def loss(params):
        logits, _ = network.apply(
            {**variables, "params": params},
            x,
            train=True,
            keys=jax.random.split(jax.random.key(2), 2),
            mutable=["batch_stats"],
        )
        assert logits.dtype == jnp.float32
        return jnp.sum(logits * jnp.array([1.0, -2.0]))

    # Off zero: a squeeze after an instance norm sees the norm's offset alone, which starts at 0.
    params = jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])
    gradients = jax.jit(jax.grad(loss))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.any(np.asarray(leaf)), name


def test_batch_statistics_move_in_training_alone():
    network = SENet(width=4, stages=1)
    x = 3 + jax.random.normal(jax.random.key(1), SMALL)
    variables = _init(network, x)

    @functools.partial(jax.jit, static_argnums=0)
    def statistics(train):
        return network.apply(variables, x, train=train, mutable=["batch_stats"])[1]["batch_stats"]

    moved, kept = statistics(True), statistics(False)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), variables["batch_stats"], moved)
    assert all(jax.tree.leaves(changed))
    jax.tree.map(np.testing.assert_array_equal, kept, variables["batch_stats"])


def test_bfloat16_stays_near_float32():
    network = SENet(width=8, stages=1)
    x = jax.random.uniform(jax.random.key(1), SMALL)
    variables = _init(network, x)
    low = dataclasses.replace(network, dtype=jnp.bfloat16)
    np.testing.assert_allclose(_apply(low, variables, x), _apply(network, variables, x), atol=0.05)


@pytest.mark.extras
def test_all_forms_of_the_convolution_give_the_same_logits():
    x = jax.random.uniform(jax.random.key(1), SMALL)
    network = SENet(width=16, stages=1, conv="native")
    variables = _init(network, x)
    wanted = _apply(network, variables, x)
    for form in ("planes", "winograd"):
        got = _apply(dataclasses.replace(network, conv=form), variables, x)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_dropout_without_keys_is_refused():
    network = SENet(width=4, stages=1, dropout=0.5)
    x = jnp.zeros(SMALL)
    with pytest.raises(ValueError, match="one key an example"):
        jax.eval_shape(lambda: network.init(jax.random.key(0), x, train=True))


@pytest.mark.extras
@pytest.mark.parametrize(("stage", "rate"), [("stage1", 0.3), ("stage2", 0.6)])
@pytest.mark.parametrize("remat", [False, True])
def test_stochastic_depth_skips_the_later_stages_more_often(stage, rate, remat):
    network = SENet(width=4, stages=2, stochastic_depth=0.6, remat=remat)
    x = jnp.tile(jax.random.uniform(jax.random.key(1), SMALL)[:1], (400, 1, 1, 1, 1))
    variables = _init(network, x[:1])
    other = variables["params"]["stage2" if stage == "stage1" else "stage1"]
    # A branch of zeros is the same whether it is there or not.
    other["norm2"] = jax.tree.map(jnp.zeros_like, other["norm2"])
    keys = jax.random.split(jax.random.key(2), 400)

    @jax.jit
    def logits(keys):
        return network.apply(variables, x, train=True, keys=keys, mutable=["batch_stats"])[0]

    values, counts = np.unique(np.round(logits(keys), 4), return_counts=True)
    assert len(values) == 2
    kept = network.apply(variables, x[:1], train=True, keys=keys[:1], mutable=["batch_stats"])[1]
    assert jax.tree.structure(kept["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    assert min(abs(counts[0] - rate * 400), abs(counts[1] - rate * 400)) < 30
    _apply(network, variables, x[:1])  # without keys, where nothing is trained


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"residual": False}, "set model.residual=True"),
        ({"stochastic_depth": 1.0}, "stochastic_depth is 1.0; choose 0 to below 1"),
        ({"dropout": 1.0}, "dropout is 1.0; choose 0 to below 1"),
        ({"dropout": -0.1}, "dropout is -0.1; choose 0 to below 1"),
    ],
)
def test_rates_that_cannot_be_are_refused(fields, message):
    network = SENet(width=4, stages=1, **({"stochastic_depth": 0.5} | fields))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(SMALL), train=False))

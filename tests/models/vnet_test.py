"""SE V-Net: shapes, parameter counts, its readings, and that every parameter learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dtc_jax.models.vnet import TransposedConv3D, VNet

COUNT = 43_959_414
SMALL = VNet(widths=(4, 8), convolutions=(1, 2), kernel_size=3)


def _init(network, size=(8, 8, 8)):
    """An input and variables; these are made of a smaller one, since they do not depend on it."""
    variables = jax.jit(lambda key: network.init(key, jnp.zeros((1, 4, 4, 4, 1)), train=False))
    return jax.random.uniform(jax.random.key(1), (2, *size, 1)), variables(jax.random.key(0))


def _apply(network, variables, x, train=False):
    """Compiled whole: op by op takes longer."""
    mutable = ["batch_stats"] if train else False
    return jax.jit(lambda v, x: network.apply(v, x, train=train, mutable=mutable))(variables, x)


def _count(network):
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 16, 1)), train=False)
    )
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_parameter_counts_are_pinned():
    assert _count(VNet()) == COUNT
    assert _count(VNet(se="none")) == COUNT - _se_parameters((16, 32, 64, 128, 256), both=True)
    assert _count(VNet(deep_supervision=True)) == COUNT + 33 + 65 + 129


def _se_parameters(widths, both):
    def block(c):
        return 2 * c * (c // 4) + c // 4 + c

    return sum(map(block, widths)) + (sum(map(block, widths[:-1])) if both else 0)


def test_the_count_follows_from_the_layers():
    def stage(c_in, c, count):
        convolutions = 27 * c_in * c + 27 * c * c * (count - 1)
        norms, slopes = 2 * c * count, count
        return convolutions + norms + slopes

    expected = (
        stage(1, 4, 1)
        + (8 * 4 * 8 + 2 * 8 + 1)  # down to the second level: kernel, norm, slope
        + stage(8, 8, 2)
        + (8 * 8 * 4 + 2 * 4 + 1)  # and up again
        + stage(8, 4, 1)
        + _se_parameters((4, 8), both=True)
        + 5  # the head
    )
    assert _count(SMALL) == expected
    stem = 8 * 1 * 4 + 2 * 4 + 1  # kernel, norm, slope
    wider = 27 * (4 - 1) * 4  # the first stage sees four channels, not one
    assert _count(SMALL.clone(stem_stride=2)) == expected + stem + wider + 7 * 5


@pytest.mark.extras
def test_without_a_shortcut_nothing_is_added():
    assert _count(SMALL.clone(residual=False)) == _count(SMALL)
    x, variables = _init(SMALL)
    scale = variables["params"]["encoder1"]["norm1"]
    scale |= {name: jnp.zeros_like(leaf) for name, leaf in scale.items()}  # its convolutions: 0
    logits = [
        _apply(SMALL.clone(residual=residual), variables, one)
        for residual in (True, False)
        for one in (x, 1 - x)
    ]
    assert not np.allclose(logits[0], logits[1])
    np.testing.assert_array_equal(logits[2], logits[3])  # the first stage gives 0 for any image


@pytest.mark.parametrize("fields", [{"up": "transposed"}, {"up": "resize"}, {"stem_stride": 2}])
def test_logits_have_the_shape_of_any_input(fields):
    network = SMALL.clone(**fields)

    def logits(x):
        return network.init_with_output(jax.random.key(0), x, train=False)[0]

    for size in [(8, 8, 8), (5, 9, 7), (1, 2, 3)]:
        assert jax.eval_shape(logits, jnp.zeros((2, *size, 1))).shape == (2, *size)


@pytest.mark.extras
def test_deep_supervision_gives_a_level_more_in_training_alone():
    network = SMALL.clone(
        widths=(4, 4, 4), convolutions=(1, 1, 1), se="none", deep_supervision=True
    )
    x, variables = _init(network, (6, 7, 8))
    predicted = _apply(network, variables, x)
    trained, _ = _apply(network, variables, x, train=True)
    assert predicted.shape == (2, 6, 7, 8)
    assert trained.shape == (2, 2, 6, 7, 8)
    coarse = np.asarray(trained[1, :, :6, :6, :8]).reshape(2, 3, 2, 3, 2, 4, 2)
    assert np.ptp(coarse, axis=(2, 4, 6)).max() == 0  # one value for eight voxels
    assert np.ptp(np.asarray(trained[0])) > 0


@pytest.mark.parametrize("stem_stride", [1, pytest.param(2, marks=pytest.mark.extras)])
def test_an_odd_size_is_seen_as_the_larger_one_whose_end_mirrors_it(stem_stride):
    network = SMALL.clone(stem_stride=stem_stride)
    _, variables = _init(network)
    x = jax.random.uniform(jax.random.key(2), (2, 9, 11, 10, 1))
    step = 2 * stem_stride
    larger = jnp.pad(x, [(0, 0), *((0, -n % step) for n in x.shape[1:4]), (0, 0)], mode="symmetric")
    assert larger.shape[1:4] == (12, 12, 12) if stem_stride == 2 else (10, 12, 10)
    expected = _apply(network, variables, larger)[:, :9, :11, :10]
    np.testing.assert_allclose(_apply(network, variables, x), expected, atol=1e-5)


@pytest.mark.extras
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"norm": "group", "activation": "elu", "up": "resize", "deep_supervision": True},
    ],
)
def test_a_gradient_reaches_every_parameter(fields):
    network = SMALL.clone(se_ratio=1, **fields)  # one hidden unit alone may be dead
    x, variables = _init(network)

    def loss(params):
        changed = variables | {"params": params}
        logits, _ = network.apply(changed, x, train=True, mutable=["batch_stats"])
        return jnp.mean(
            logits * jnp.cos(jnp.arange(logits.size, dtype=float)).reshape(logits.shape)
        )

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.any(np.asarray(leaf)), jax.tree_util.keystr(path)


def test_transposed_convolution_is_that_of_xla():
    layer = TransposedConv3D(3)
    x = jax.random.normal(jax.random.key(1), (2, 3, 4, 5, 6))
    variables = layer.init(jax.random.key(0), x)
    kernel = variables["params"]["kernel"].transpose(1, 2, 3, 0, 4)  # DHWIO
    kernel = kernel[::-1, ::-1, ::-1]  # XLA convolves the spread input with the kernel as it is
    expected = lax.conv_transpose(
        x, kernel, (2, 2, 2), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )
    np.testing.assert_allclose(layer.apply(variables, x), expected, atol=1e-5)


def test_forms_and_mapped_axis_agree():
    x, variables = _init(SMALL)
    planes = _apply(SMALL.clone(conv="planes"), variables, x)
    native = _apply(SMALL.clone(conv="native"), variables, x)
    np.testing.assert_allclose(planes, native, atol=1e-5)

    def mapped(rows):
        network = SMALL.clone(axis_name="rows")
        return network.apply(variables, rows, train=True, mutable=["batch_stats"])

    whole = _apply(SMALL, variables, x, train=True)
    split = jax.jit(jax.vmap(mapped, axis_name="rows"))(x[:, None])
    np.testing.assert_allclose(split[0][:, 0], whole[0], atol=1e-4)


def test_bfloat16_computes_coarsely_and_keeps_float32_parameters_and_logits():
    network = SMALL.clone(dtype=jnp.bfloat16)
    x, variables = _init(network)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    logits = _apply(network, variables, x)
    exact = _apply(SMALL, variables, x)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact, atol=0.1)
    assert not np.array_equal(logits, exact)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (4, 8, 8)}, "one number"),
        ({"widths": (4,), "convolutions": (1,)}, "two levels or more"),
        ({"activation": "tanh"}, "prelu"),
        ({"norm": "layer"}, "batch, instance or group"),
    ],
)
def test_a_wrong_field_is_said(fields, message):
    with pytest.raises(ValueError, match=message):
        _count(SMALL.clone(**fields))

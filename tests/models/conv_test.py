"""Every form of the 3-D convolution against XLA's own, forward and backward."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.models import conv

SHAPES = [  # input [B, D, H, W, C], kernel size, filters
    ((2, 8, 6, 5, 3), 3, 4),
    ((1, 5, 4, 4, 2), 3, 3),  # a depth that leaves half a Winograd tile
    ((2, 1, 4, 4, 2), 3, 2),  # one plane alone
    ((1, 4, 4, 4, 3), 1, 5),
    ((1, 6, 7, 6, 2), 5, 2),
    ((2, 3, 2, 2, 3), 3, 4),  # planes that are smaller than the kernel
    ((1, 5, 7, 6, 2), 2, 3),
    ((1, 7, 9, 5, 2), 4, 3),
]
STRIDED = [(1, "planes"), (2, "planes"), (2, "patches"), (1, "winograd")]
MORE = [(3, "planes"), (1, "patches")]


def _arrays(shape, size, filters):
    rng = np.random.default_rng(0)
    x, kernel = (
        jnp.asarray(rng.standard_normal(shape, np.float32))
        for shape in (shape, (size, size, size, shape[-1], filters))
    )
    return x, kernel


def _weighted(shape, size, filters, stride, form):
    """The convolution, and the gradients of its weighted sum by input and kernel."""
    sides = (-(-n // stride) for n in shape[1:4])
    weight = np.random.default_rng(1).standard_normal((shape[0], *sides, filters), np.float32)

    def loss(x, kernel):
        y = conv.conv3d(x, kernel, stride, form)
        return (y * weight).sum(), y

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    (_, y), gradients = step(*_arrays(shape, size, filters))
    return y, *gradients


_natively = functools.cache(functools.partial(_weighted, form="native"))


@pytest.mark.parametrize(
    ("shape", "size", "filters", "stride", "form"),
    [(*case, *how) for case, how in itertools.product(SHAPES, STRIDED)]
    + [
        pytest.param(*case, *how, marks=pytest.mark.extras)
        for case, how in itertools.product(SHAPES, MORE)
    ],
)
def test_forms_agree_with_the_native_convolution(shape, size, filters, stride, form):
    found = _weighted(shape, size, filters, stride, form)
    assert found[0].shape[1:4] == tuple(-(-n // stride) for n in shape[1:4])
    for got, wanted in zip(found, _natively(shape, size, filters, stride), strict=True):
        assert got.shape == wanted.shape
        tolerance = 2e-5 * float(jnp.abs(wanted).max())
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)


def _in_float64(x, kernel, weight):
    """The convolution of stride 1, and the gradients of its weighted sum by input and kernel."""
    x, kernel, weight = (np.asarray(a).astype(np.float64) for a in (x, kernel, weight))
    reach = kernel.shape[0] // 2
    around = [(0, 0), *[(reach, reach)] * 3, (0, 0)]
    padded, sides = np.pad(x, around), x.shape[1:4]
    y, by_input, by_kernel = np.zeros_like(weight), np.zeros_like(padded), np.zeros_like(kernel)
    for tap in itertools.product(range(2 * reach + 1), repeat=3):
        seen = (slice(None), *(slice(i, i + n) for i, n in zip(tap, sides, strict=True)))
        y += padded[seen] @ kernel[tap]
        by_input[seen] += weight @ kernel[tap].T
        by_kernel[tap] = np.tensordot(padded[seen], weight, ((0, 1, 2, 3),) * 2)
    inside = (slice(None), *(slice(reach, reach + n) for n in sides))
    return y, by_input[inside], by_kernel


@pytest.mark.extras
@pytest.mark.parametrize(
    ("form", "dtype", "bound"),
    [
        ("native", jnp.float32, 1e-6),
        ("planes", jnp.float32, 1e-6),
        ("patches", jnp.float32, 1e-6),
        ("winograd", jnp.float32, 5e-6),  # its sums cancel
        ("planes", jnp.bfloat16, 2e-2),
        ("patches", jnp.bfloat16, 2e-2),
    ],
)
def test_the_error_is_bounded_at_every_depth(form, dtype, bound):
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 8, 8), np.float32), dtype)
    arrays = [
        tuple(
            jnp.asarray(rng.standard_normal((2, depth, 5, 6, 8), np.float32), dtype) for _ in "xw"
        )
        for depth in range(1, 8)
    ]

    @jax.jit
    def computed(arrays, kernel):
        def both(x, weight):
            y, back = jax.vjp(lambda x, kernel: conv.conv3d(x, kernel, 1, form), x, kernel)
            return y, *back(weight)

        return [both(x, weight) for x, weight in arrays]

    for (x, weight), found in zip(arrays, computed(arrays, kernel), strict=True):
        for got, wanted in zip(found, _in_float64(x, kernel, weight), strict=True):
            away = np.abs(np.asarray(got).astype(np.float64) - wanted).max()
            assert away < bound * np.abs(wanted).max()


def test_winograd_is_not_the_direct_sum_in_disguise():
    x, kernel = _arrays((1, 8, 8, 8, 16), 3, 16)

    def products(form):
        call = jax.jit(lambda x, kernel: conv.conv3d(x, kernel, 1, form))
        return call.lower(x, kernel).cost_analysis()["flops"]

    assert products("winograd") < 0.65 * products("planes")


@pytest.mark.parametrize(
    ("shape", "filters", "stride", "dtype", "form"),
    [
        ((1, 16, 8, 8, 16), 32, 1, jnp.float32, "winograd"),
        ((1, 16, 8, 8, 4), 32, 1, jnp.float32, "planes"),  # too few channels
        ((1, 2, 8, 8, 16), 32, 1, jnp.float32, "planes"),  # too shallow
        ((1, 16, 8, 8, 16), 32, 2, jnp.float32, "planes"),
        ((1, 16, 8, 2, 16), 32, 1, jnp.float32, "patches"),  # a plane smaller than the kernel
        ((1, 16, 8, 8, 16), 32, 1, jnp.bfloat16, "planes"),  # too few digits
    ],
)
def test_the_cpu_gets_the_form_that_fits(shape, filters, stride, dtype, form):
    x, kernel = _arrays(shape, 3, filters)
    assert conv.cpu_form(x.astype(dtype), kernel.astype(dtype), stride) == form


def test_the_platform_decides_under_jit_vmap_and_pmap_alike():
    x, kernel = _arrays((8, 8, 4, 4, 16), 3, 16)
    wanted = conv.conv3d(x, kernel, 1, "winograd")
    parts = x.reshape(8, 1, *x.shape[1:])
    over_parts = jax.vmap(conv.conv3d, in_axes=(0, None))
    on_devices = jax.pmap(conv.conv3d, in_axes=(0, None))
    for got in (conv.conv3d(x, kernel), over_parts(parts, kernel), on_devices(parts, kernel)):
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=0, atol=1e-4)


def test_an_unknown_form_is_refused():
    x, kernel = _arrays((1, 4, 4, 4, 1), 3, 1)
    with pytest.raises(UsageError, match=r"conv is 'plane'.*Did you mean 'planes'"):
        conv.conv3d(x, kernel, 1, "plane")


@pytest.mark.parametrize("bias", [False, True])
def test_the_layer_adds_a_bias_only_where_asked(bias):
    layer = conv.Conv3D(4, use_bias=bias, dtype=jnp.bfloat16)
    x = jnp.ones((1, 4, 4, 4, 2))
    y, variables = layer.init_with_output(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert set(variables["params"]) == ({"kernel", "bias"} if bias else {"kernel"})
    assert variables["params"]["kernel"].dtype == jnp.float32

"""Both networks lowered on this CPU for other platforms, and exported with a symbolic batch."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.models.senet import SENet
from dtc_jax.models.vnet import VNet

NETWORKS = {  # and how many 3-D convolutions they have
    "senet": (SENet(width=16, stages=2, stem_stride=2), 5),
    "vnet": (VNet(widths=(16, 32), convolutions=(1, 1), kernel_size=3), 4),
}
SHAPE = (2, 16, 16, 16, 1)


def _convolutions(text):
    """Number of convolutions in StableHLO with two and with three spatial axes."""
    layouts = re.findall(r"stablehlo\.convolution.*?dim_numbers = \[([^]]*)\]", text)
    axes = ["2" in layout for layout in layouts]  # spatial axes are numbered from 0
    return len(axes) - sum(axes), sum(axes)


@pytest.fixture(params=["senet", pytest.param("vnet", marks=pytest.mark.extras)], scope="module")
def network(request):
    """The network's forward function, its variables, an input, how many convolutions it has."""
    module, count = NETWORKS[request.param]
    x = jax.random.normal(jax.random.key(1), SHAPE)
    variables = jax.jit(lambda x: module.init(jax.random.key(0), x, train=False))(x)
    return lambda variables, x: module.apply(variables, x, train=False), variables, x, count


def test_each_platform_gets_its_own_form_forward_and_backward(network):
    forward, variables, x, count = network

    def loss(params, x):
        return (forward({**variables, "params": params}, x) ** 2).sum()

    for function, arguments, passes in (
        (forward, (variables, x), 1),
        (jax.grad(loss, argnums=(0, 1)), (variables["params"], x), 3),  # to the input, to kernels
    ):
        traced = jax.jit(function).trace(*arguments)
        for platform in ("cuda", "rocm", "tpu"):
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            assert _convolutions(text) == (0, passes * count)
        planar, volumetric = _convolutions(traced.lower(lowering_platforms=("cpu",)).as_text())
        assert planar > 0
        assert volumetric == 0


@pytest.mark.extras
def test_an_export_with_any_batch_gives_the_same_numbers(network):
    forward, variables, x, _ = network
    (batch,) = jax.export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((batch, *x.shape[1:]), jnp.float32)
    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(jax.jit(forward), platforms=platforms)(variables, spec)
    assert _convolutions(exported.mlir_module())[1] > 0
    for number in (1, 3):
        examples = jnp.concatenate([x, x])[:number]
        np.testing.assert_array_equal(
            exported.call(variables, examples), jax.jit(forward)(variables, examples)
        )

"""Activations that are computed again instead of kept change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.models.senet import SENet
from dtc_jax.models.vnet import VNet


@pytest.mark.parametrize(
    ("network", "fields"),
    [
        (SENet, {"width": 4, "stages": 2}),
        (VNet, {"widths": (4, 8), "convolutions": (1, 2), "kernel_size": 3}),
    ],
)
def test_the_gradient_is_the_same_and_takes_less_memory(network, fields):
    x = jax.random.uniform(jax.random.key(0), (2, 16, 16, 16, 1))
    variables = jax.jit(lambda: network(**fields).init(jax.random.key(1), x, train=False))()

    def compiled(remat):
        def loss(params, batch_stats):
            out, changed = network(**fields, remat=remat).apply(
                {"params": params, "batch_stats": batch_stats},
                x,
                train=True,
                mutable=["batch_stats"],
            )
            return jnp.mean(out**2), changed["batch_stats"]

        step = jax.jit(jax.grad(loss, has_aux=True))
        return step.lower(variables["params"], variables["batch_stats"]).compile()

    kept, again = compiled(False), compiled(True)
    arguments = variables["params"], variables["batch_stats"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        kept(*arguments),
        again(*arguments),
    )
    sizes = [step.memory_analysis().temp_size_in_bytes for step in (kept, again)]
    assert sizes[1] < sizes[0]

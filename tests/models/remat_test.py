"""Activations that are computed again instead of kept change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.models.senet import SENet
from dtc_jax.models.vnet import VNet
from dtc_jax.training import parallel

pytestmark = pytest.mark.extras  # compiles for a minute


@pytest.mark.parametrize(
    ("network", "fields"),
    [
        (SENet, {"width": 4, "stages": 2, "conv": "native"}),
        (SENet, {"width": 8, "stages": 2}),
        (VNet, {"widths": (4, 8), "convolutions": (1, 2), "kernel_size": 3, "conv": "native"}),
    ],
)
def test_the_gradient_is_the_same(network, fields):
    x = jax.random.uniform(jax.random.key(0), (2, 16, 16, 16, 1))
    variables = jax.jit(lambda: network(**fields).init(jax.random.key(1), x, train=False))()

    def lowered(remat):
        def loss(params, batch_stats):
            out, changed = network(**fields, remat=remat).apply(
                {"params": params, "batch_stats": batch_stats},
                x,
                train=True,
                mutable=["batch_stats"],
            )
            return jnp.mean(out**2), changed["batch_stats"]

        step = jax.jit(jax.grad(loss, has_aux=True))
        return step.lower(variables["params"], variables["batch_stats"])

    kept, again = lowered(False), lowered(True)
    barrier = "optimization_barrier"  # that keeps the compiler from undoing it
    assert barrier in again.as_text()
    if "conv" in fields:  # the forms of the convolution for a CPU have barriers of their own
        assert barrier not in kept.as_text()
    arguments = variables["params"], variables["batch_stats"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        kept.compile()(*arguments),
        again.compile()(*arguments),
    )


def test_the_training_step_needs_less_memory():
    x = jax.ShapeDtypeStruct((4, 32, 32, 32, 1), jnp.float32)

    def memory(remat):
        # All levels are as large as the first, so that activations are most of it.
        network = SENet(width=8, stages=3, pool_window=(1, 1, 1), conv="native", remat=remat)
        state = jax.eval_shape(lambda: network.init(jax.random.key(1), jnp.zeros(x.shape), False))

        def step(state, x):
            def loss(params):
                stats = {"batch_stats": state["batch_stats"]}
                out, new = network.apply(
                    {"params": params, **stats}, x, train=True, mutable=["batch_stats"]
                )
                return jnp.mean(out**2), new

            grads, new = jax.grad(loss, has_aux=True)(state["params"])
            return {"params": grads, **new}, {}

        how = parallel.make("jit", jax.devices()[:1])
        compiled = how.compile_train(lambda: step).lower(state, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(True) < 0.9 * memory(False)

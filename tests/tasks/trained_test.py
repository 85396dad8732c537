"""A trained network goes from HU and mask to the logit in one function, for any batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from configs import senet, vnet
from dtc_jax.tasks import classification, segmentation
from dtc_jax.tasks.trained import Member, TrainedNetwork

SIDE = 16


def _network(definition, config, *seeds) -> TrainedNetwork:
    init = jax.jit(definition.make_task(config).init)
    members = [Member(config, *jax.device_get(init(jax.random.key(s))), {}) for s in seeds]
    return TrainedNetwork(definition, tuple(members))


@pytest.fixture(
    scope="module", params=["classifier", pytest.param("segmenter", marks=pytest.mark.extras)]
)
def network(request) -> TrainedNetwork:
    if request.param == "classifier":
        config = senet.get_config("demo").unlock()
        config.preprocess.update(crop_mm=(12, 12, 12), mask="channel")
        config.model.update(width=4, stages=2, stem_stride=1)
        return _network(classification.DEFINITION, config, 0, 1)
    config = vnet.get_config("demo").unlock()
    config.model.update(widths=(4, 8), convolutions=(1, 1))
    config.preprocess.update(spacing_mm=1.0)
    config.predict.update(crop_mm=(SIDE,) * 3, mirror=True)
    return _network(segmentation.DEFINITION, config, 0, 1)


def _arrays(batch):
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 400, (batch, SIDE, SIDE, SIDE)).astype(np.int16)
    return jnp.asarray(image), jnp.asarray((image > 0).astype(np.uint8))


def test_members_decide_by_the_mean_of_their_logits(network):
    arrays = _arrays(3)
    logits = [network.member(number).on_device(*arrays) for number in (0, 1)]
    assert np.abs(np.asarray(logits[0] - logits[1])).max() > 1e-3
    np.testing.assert_allclose(network.on_device(*arrays), sum(logits) / 2, atol=1e-5)
    expected = 1 / (1 + np.exp(-np.asarray(sum(logits) / 2, float)))
    np.testing.assert_allclose(network.probability(*arrays), expected, atol=1e-5)


@pytest.mark.extras
def test_the_batch_may_be_symbolic(network):
    shape = jax.ShapeDtypeStruct
    (batch,) = export.symbolic_shape("b")
    dims = (batch, SIDE, SIDE, SIDE)
    variables = jax.tree.map(lambda a: shape(a.shape, a.dtype), network.variables)
    traced = jax.jit(network.logit).trace(variables, shape(dims, jnp.int16), shape(dims, jnp.uint8))
    out = jax.tree.leaves(traced.out_info)[0]
    assert out.shape[0] == batch
    for count in (1, 3):
        assert network.on_device(*_arrays(count)).shape[0] == count


def test_mirror_images_are_inside(network):
    config = network.config.copy_and_resolve_references()
    config.predict.mirror = False
    (member,) = network.member(0).members
    plain = TrainedNetwork(network.task, (dataclasses.replace(member, config=config),))
    image, mask = _arrays(2)
    views = []
    for axes in ((), (1,), (2,), (3,)):
        logit = plain.on_device(jnp.flip(image, axes), jnp.flip(mask, axes))
        views.append(np.asarray(jnp.flip(logit, axes) if logit.ndim > 1 else logit))
    np.testing.assert_allclose(
        network.member(0).on_device(image, mask), np.mean(views, 0), atol=1e-4
    )


def test_it_needs_a_member():
    with pytest.raises(ValueError, match="at least one"):
        TrainedNetwork(classification.DEFINITION, ())

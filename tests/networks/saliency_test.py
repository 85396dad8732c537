"""The heat map is Grad-CAM, lies where the lesion lies, and is gone when what was learned is."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import heat
from dtc_jax.models.layers import max_pool
from dtc_jax.models.senet import SENet
from dtc_jax.networks import saliency

NETWORK = SENet(width=4, stages=2)
SHAPE = (8, 16, 16)


def _drawn(network):
    x = jax.random.uniform(jax.random.key(0), (3, *SHAPE, 1))
    variables = jax.jit(network.init, static_argnames="train")(jax.random.key(1), x, train=False)
    return variables["params"], variables.get("batch_stats", {}), x


@pytest.mark.parametrize(
    ("norm", "add"),
    [("batch", "before_pool"), pytest.param("instance", "after_pool", marks=pytest.mark.extras)],
)
def test_it_is_grad_cam_by_automatic_differentiation(norm, add):
    network = NETWORK.clone(norm=norm, add=add)
    params, batch_stats, x = _drawn(network)

    def logit(shift):
        """The logits' sum, with `shift` added to the last stage's output, and that output."""
        seen = {}

        def shifted(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if context.module.name == "stage2" and context.method_name == "__call__":
                seen["features"] = out
                return out + shift
            return out

        with nn.intercept_methods(shifted):
            variables = {"params": params, "batch_stats": batch_stats}
            return network.apply(variables, x, train=False).sum(), seen["features"]

    gradient, features = jax.jit(jax.grad(logit, has_aux=True))(jnp.zeros((3, 2, 4, 4, 8)))
    alpha = gradient.mean(axis=(1, 2, 3), keepdims=True)  # eq. 1, but for its sum
    cam = (alpha * features).sum(axis=-1) * (2 * 4 * 4)  # eq. 2, before it is cut off
    found = saliency.contributions(network, params, batch_stats, x)
    np.testing.assert_allclose(found, cam, atol=1e-5)


@pytest.mark.extras
def test_it_is_grad_cam_before_the_pooling_of_the_last_stage_too():
    params, batch_stats, x = _drawn(NETWORK)
    variables = {"params": params, "batch_stats": batch_stats}
    unpooled = NETWORK.clone(pool_last=False)
    apply = jax.jit(lambda v: unpooled.apply(v, x, train=False, mutable=["intermediates"]))
    _, sown = apply(variables)
    (features,) = sown["intermediates"]["features"]  # [B, 4, 8, 8, C]

    def logit(features):
        means = max_pool(features, (2, 2, 2)).mean(axis=(1, 2, 3))
        return (means @ params["head"]["kernel"]).sum()

    alpha = jax.grad(logit)(features).mean(axis=(1, 2, 3), keepdims=True)  # eq. 1, but for its sum
    cam = (alpha * features).sum(axis=-1) * (4 * 8 * 8)  # eq. 2, before it is cut off
    found = saliency.contributions(NETWORK, params, batch_stats, x, False)
    np.testing.assert_allclose(found, cam, atol=1e-4)
    heat = saliency.heat_maps(NETWORK, params, batch_stats, x)
    np.testing.assert_allclose(
        heat, jax.image.resize(nn.relu(cam), heat.shape, "linear"), atol=1e-4
    )
    assert heat.shape == x.shape[:-1]


@pytest.mark.parametrize(("side", "cell"), [(30, 8), (32, 8), (36, 8), (31, 2), (9, 4)])
def test_a_place_of_the_map_is_drawn_over_its_voxels(side, cell):
    places = -(-side // cell) if cell == 2 else side // cell  # a stem goes on to the edge
    ramp = np.arange(places) * cell + (cell - 1) / 2  # the middle of each place's voxels
    maps = np.broadcast_to(ramp[:, None, None], (places, 1, 1))[None].astype(np.float32)
    drawn = np.asarray(saliency.stretched(maps, (side, 1, 1), (cell, 1, 1)))[0, :, 0, 0]
    np.testing.assert_allclose(drawn, np.clip(np.arange(side), ramp[0], ramp[-1]), atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "cell"),
    [
        ({}, (2, 2, 2)),
        ({"stages": 4, "stem_stride": 2, "pool_window": (1, 2, 2)}, (2, 16, 16)),
        ({"add": "after_pool"}, (4, 4, 4)),
        ({"add": "after_pool", "pool_last": False, "stem": False}, (2, 2, 2)),
    ],
)
def test_a_place_stands_for_as_many_voxels_as_its_map_is_coarser(fields, cell):
    network = NETWORK.clone(**fields)
    x = jnp.zeros((1, 32, 32, 32, 1))

    def places(x):
        variables = network.init(jax.random.key(0), x, train=False)
        params, stats = variables["params"], variables.get("batch_stats", {})
        return saliency.contributions(network, params, stats, x, False)

    found = jax.eval_shape(places, x).shape[1:]
    assert network.cell == cell == tuple(32 // n for n in found)


def test_contributions_add_up_to_the_logit():
    params, batch_stats, x = _drawn(NETWORK)
    params["head"]["bias"] += 0.7
    variables = {"params": params, "batch_stats": batch_stats}
    logit = jax.jit(NETWORK.apply, static_argnames="train")(variables, x, train=False)
    found = saliency.contributions(NETWORK, params, batch_stats, x)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)) + 0.7, logit, atol=1e-5)


# --- a network that has learned where to look ---


def _examples(seed, n=32):
    """Noise, with a bright ball somewhere in every other example: x, label, balls, centres."""
    rng = np.random.default_rng(seed)
    label = (np.arange(n) % 2).astype(np.float32)
    center = rng.integers((1, 3, 3), (7, 13, 13), (n, 3))
    grid = np.stack(np.indices(SHAPE), -1)  # [D, H, W, 3]
    apart = np.linalg.norm(grid[None] - center[:, None, None, None], axis=-1)
    ball = (apart < 2.5) * label[:, None, None, None] * 0.6
    ball = ball[..., None].astype(np.float32)
    return rng.uniform(0, 0.4, ball.shape).astype(np.float32) + ball, label, ball, center


@pytest.fixture(scope="module")
def trained():
    """The weights that were drawn, with a head fitted to the examples by least squares."""
    x, label, *_ = _examples(0)
    params, batch_stats, _ = _drawn(NETWORK)
    eye = np.eye(NETWORK.width * 2, dtype=np.float32)
    means = [
        saliency.contributions(
            NETWORK,
            params | {"head": {"kernel": one[:, None], "bias": np.zeros(1)}},
            batch_stats,
            x,
        ).mean(axis=(1, 2, 3))
        for one in eye
    ]  # of each channel
    design = np.column_stack([*means, np.ones(len(x))])
    fitted = np.linalg.lstsq(design, 2 * label - 1)[0].astype(np.float32)
    head = {"kernel": jnp.array(fitted[:-1, None]), "bias": jnp.array(fitted[-1:])}
    return params | {"head": head}, batch_stats


def test_the_heat_lies_on_the_lesion(trained):
    x, label, ball, center = _examples(7)
    logits = saliency.contributions(NETWORK, *trained, x).mean(axis=(1, 2, 3))
    logits += trained[0]["head"]["bias"]
    assert ((logits > 0) == (label > 0.5)).mean() > 0.9
    heat, without = (np.asarray(saliency.heat_maps(NETWORK, *trained, y)) for y in (x, x - ball))
    inside = ball[..., 0] > 0
    assert heat[inside].mean() > 1.2 * heat[1::2][~inside[1::2]].mean()
    added = (heat - without)[1::2]
    peaks = np.array([np.unravel_index(one.argmax(), one.shape) for one in added])
    apart = np.linalg.norm(peaks - center[1::2], axis=1)
    assert np.median(apart) < 5  # voxels; a position of the last map covers four


def test_the_heat_is_gone_with_what_was_learned(trained):
    x = _examples(7)[0][1::2][:8]
    keys = jax.random.split(jax.random.key(5))
    found = np.array(
        [saliency.resemblance_to_random(NETWORK, *trained, x, key) for key in keys]
    )  # [2, 8]
    assert found.shape == (2, 8)
    assert np.median(found) < 0.5

    class Blind(SENet):
        """Draws the same weights whatever the key: its map cannot depend on what was learned."""

        def init(self, *args, **kwargs):
            return {"params": trained[0], "batch_stats": trained[1]}

    same = saliency.resemblance_to_random(Blind(width=4, stages=2), *trained, x, keys[0])
    np.testing.assert_allclose(same, 1.0)


# --- over the scan ---


def test_a_heat_map_lies_over_its_lesion_in_the_scan():
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, -0.7], [0, 0.7, 0], [2.5, 0, 0]])
    affine[:3, 3] = (40.0, -30.0, 100.0)
    scan = Volume(np.zeros((20, 60, 60), np.int16), affine)
    scan.array[8, 30, 20] = 1000
    center_mm = scan.world((9, 28, 24))
    crop, _ = lesions.cut(scan, center_mm, (17, 21, 21), fill=0.0)
    found = heat.on_scan(crop.array, center_mm, 1.0, scan)
    assert found.shape == scan.shape
    np.testing.assert_array_equal(found.affine, scan.affine)
    assert np.unravel_index(found.array.argmax(), found.shape) == (8, 30, 20)
    inside = np.argwhere(heat.on_scan(np.ones((17, 21, 21)), center_mm, 1.0, scan).array)
    reach_mm = np.ptp(inside, axis=0) * scan.spacing_mm
    np.testing.assert_allclose(reach_mm, (16, 20, 20), atol=2.5)
    assert found.array[0, 0, 0] == 0

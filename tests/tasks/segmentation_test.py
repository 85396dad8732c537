"""The segmentation task: counts, views, sums over rows, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.tasks import patch_data, registry, segmentation, segmentation_losses
from dtc_jax.training import state, steps

SIDE = 12


@pytest.fixture(scope="module")
def config():
    config = vnet.get_config("demo").unlock()
    config.model.update(widths=(4, 8), convolutions=(1, 1))
    config.preprocess.update(crop_mm=(8, 8, 8), spacing_mm=1.0)
    config.predict.update(crop_mm=(SIDE, SIDE, SIDE), mirror=True)
    config.augment.update(shift_mm=2.0, noise_hu=0.0)
    return config


@pytest.fixture(scope="module")
def task(config):
    return segmentation.make_task(config)


@pytest.fixture(scope="module")
def variables(task):
    return jax.jit(task.init)(jax.random.key(0))


def _batch(rows=4):
    """Bright balls of several sizes and places; the last row has none, and is not valid."""
    grid = np.indices((SIDE,) * 3)
    image = np.full((rows, SIDE, SIDE, SIDE), -850, np.int16)
    mask = np.zeros(image.shape, np.uint8)
    for i in range(rows - 1):
        center = np.array([5.5, 5 + i % 2, 6]).reshape(3, 1, 1, 1)
        mask[i] = ((grid - center) ** 2).sum(axis=0) <= (2.2 + 0.4 * i) ** 2
    image[mask > 0] = 30
    return {
        "image": image,
        "mask": mask,
        "extent": np.tile(np.array([0, SIDE], np.int32), (rows, 3, 1)),
        "label": mask.any(axis=(1, 2, 3)).astype(np.float32),
        "index": np.arange(10, 10 + rows, dtype=np.int32),
        "valid": np.array([1.0] * (rows - 1) + [0.0], np.float32),
        "weight": np.ones(rows, np.float32),
    }


def test_prediction_is_the_mean_over_views_and_is_counted_voxel_by_voxel(config, task, variables):
    batch = _batch()
    out = jax.jit(task.predict)(*variables, batch)
    x = jnp.clip((jnp.asarray(batch["image"], jnp.float32) + 1000) / 1400, 0, 1)[..., None]
    network = segmentation.make_network(config)
    apply = jax.jit(
        lambda x: network.apply(
            {"params": variables[0], "batch_stats": variables[1]}, x, train=False
        )
    )
    views = [jnp.flip(apply(jnp.flip(x, axes)), axes) for axes in [(), (1,), (2,), (3,)]]
    logits = np.mean(views, axis=0)
    found, true = logits > 0, batch["mask"] > 0
    unsure = (np.abs(logits) < 1e-4).sum(axis=(1, 2, 3)).max()
    for name, expected in [
        ("found_voxels", found),
        ("true_voxels", true),
        ("overlap_voxels", found & true),
    ]:
        assert np.abs(np.asarray(out[name]) - expected.sum(axis=(1, 2, 3))).max() <= unsure, name
    losses = segmentation_losses.example_losses(
        jnp.asarray(logits), jnp.asarray(true, jnp.float32), config.loss
    )
    np.testing.assert_allclose(out["loss"], losses, rtol=1e-4)
    np.testing.assert_array_equal(out["index"], batch["index"])


def test_figures_of_a_split_leave_empty_patches_out_of_dice(task):
    outputs = [
        {
            "loss": np.array([0.2, 0.4]),
            "overlap_voxels": np.array([5, 0]),
            "found_voxels": np.array([10, 3]),
            "true_voxels": np.array([10, 0]),
        },
        {
            "loss": np.array([0.3]),
            "overlap_voxels": np.array([0]),
            "found_voxels": np.array([0]),
            "true_voxels": np.array([8]),
        },
    ]
    figures = task.summarize(outputs)
    assert figures == pytest.approx({"loss": 0.3, "dice": 0.25, "empty_with_finding": 1.0})
    np.testing.assert_array_equal(segmentation.columns(outputs)["dice"], [0.5, np.nan, 0.0])
    assert "empty_with_finding" not in task.summarize(outputs[1:])
    nothing = [{name: values[1:] for name, values in outputs[0].items()}]
    assert np.isnan(task.summarize(nothing)["dice"])


def test_loss_is_a_sum_over_valid_rows_from_each_rows_own_key(task, variables):
    batch = _batch()
    keys = jax.random.split(jax.random.key(3), 4)
    loss = jax.jit(lambda batch, keys: task.loss(*variables, batch, keys, None))
    out = loss(batch, keys)
    assert float(out.weight) == 3
    assert float(out.metrics["dice"][1]) == 3
    is_valid = batch["valid"][:, None, None, None] > 0
    hidden = dict(batch, mask=np.where(is_valid, batch["mask"], 1).astype(np.uint8))
    assert float(loss(hidden, keys).sum) == pytest.approx(float(out.sum), rel=1e-6)
    other = loss(batch, jax.random.split(jax.random.key(4), 4))
    assert float(other.sum) != float(out.sum)


def test_a_lesion_in_a_tight_cut_counts_only_where_it_is_resettled(config, variables):
    config = config.copy_and_resolve_references()
    config.augment.resettle = 1.0
    loss = jax.jit(segmentation.make_task(config).loss, static_argnums=4)
    batch = _batch() | {"valid": np.ones(4, np.float32)}
    batch["extent"][:3, 0] = (2, SIDE - 2)
    keys = jax.random.split(jax.random.key(0), 4)
    moved = loss(*variables, batch, keys, None)  # all three into the last one
    assert [float(moved.weight), float(moved.metrics["dice"][1])] == [4, 3]
    batch["extent"][3, 0] = (2, SIDE - 2)
    nowhere = loss(*variables, batch, keys, None)
    assert [float(nowhere.weight), float(nowhere.metrics["dice"][1])] == [1, 0]


def test_what_is_drawn_for_an_example_is_drawn_from_keys_of_its_own():
    """Else the noise of a patch would tell whether a lesion was set into it."""
    key = jax.random.key(0)
    ours = [segmentation._THICK, segmentation._RESETTLE, segmentation._SET_IN]
    keys = [*jax.random.split(key), *(jax.random.fold_in(key, n) for n in ours)]
    assert len({jax.random.key_data(one).tobytes() for one in map(jax.device_get, keys)}) == 5


@pytest.mark.extras
def test_it_learns_a_bright_ball(config, task):
    optimizer = optax.adam(0.02)
    step = jax.jit(steps.make_train_step(task, optimizer, seed=0))
    batch = _batch()
    batch["valid"][:] = 1.0
    current = jax.jit(lambda: state.create(task, optimizer, seed=0, ema=False))()
    for _ in range(60):
        current, metrics = step(current, batch)
    total, count = metrics["dice"]
    assert total / count > 0.8


@pytest.mark.extras
def test_levels_of_deep_supervision_share_one_loss(config):
    def loss(deep):
        changed = config.copy_and_resolve_references()
        changed.model.update(deep_supervision=deep, se="none")
        changed.augment.update(rotate_deg=(0.0, 0.0, 0.0), scale=0.0)
        task = segmentation.make_task(changed)
        params, batch_stats = jax.jit(task.init)(jax.random.key(0))
        params = jax.tree.map(jnp.zeros_like, params)  # every logit is 0, at every level
        keys = jax.random.split(jax.random.key(3), 4)
        return float(
            jax.jit(lambda *a: task.loss(*a, keys, None))(params, batch_stats, _batch()).sum
        )

    assert loss(deep=True) == pytest.approx(loss(deep=False), rel=1e-6)


def test_training_patches_without_any_lesion_are_said(config):
    with pytest.raises(InputError, match="none of the 3 training patches shows a lesion"):
        patch_data.weights(config, pd.DataFrame({"label": np.zeros(3)}))


def test_tasks_go_by_name(config):
    assert registry.of(config) is segmentation.DEFINITION
    changed = config.copy_and_resolve_references()
    changed.task = "segmentatoin"
    with pytest.raises(UsageError, match="Did you mean 'segmentation'"):
        registry.of(changed)

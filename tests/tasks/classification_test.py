"""The classification task: what its seam promises, and that it can learn one crop by heart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import senet
from dtc_jax.imaging.preprocess import preprocess
from dtc_jax.statistics import roc
from dtc_jax.tasks import classification
from dtc_jax.training import mixup, parallel, state, steps


@pytest.fixture(scope="module")
def config():
    config = senet.get_config("demo")
    with config.unlocked():
        config.preprocess.update(crop_mm=(8, 8, 8), spacing_mm=1.0, mask="channel")
        config.model.update(width=4, stages=2, stem_stride=1, dropout=0.0)
        config.augment.update(rotate_deg=(0.0, 0.0, 0.0), scale=0.0, noise_hu=0.0)
    return config


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.normal(-800, 50, (8, 12, 12, 12))
    label = (np.arange(8) % 2).astype(np.float32)
    image[:, 4:8, 4:8, 4:8] += 200 + 500 * label[:, None, None, None]
    mask = np.zeros(image.shape, np.uint8)
    mask[:, 4:8, 4:8, 4:8] = 1
    return {
        "image": image.astype(np.int16),
        "mask": mask,
        "extent": np.tile(np.array([[0, 12]] * 3, np.int32), (8, 1, 1)),
        "label": label,
        "index": np.arange(8, dtype=np.int32),
        "valid": np.ones(8, np.float32),
        "weight": np.ones(8, np.float32),
    }


@pytest.fixture(scope="module")
def task(config, batch):
    return classification.make_task(config)


@pytest.fixture(scope="module")
def variables(task):
    return jax.jit(task.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def loss(task, variables):
    """Of a batch, compiled once for all tests."""
    keys = jax.random.split(jax.random.key(1), 8)
    return jax.jit(lambda batch: task.loss(*variables, batch, keys, None))


def test_rows_that_only_fill_a_batch_do_not_count(loss, batch):
    part = batch | {"valid": np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32)}
    spoilt = part | {"label": np.where(part["valid"] > 0, part["label"], np.nan)}
    got = loss(spoilt)
    assert float(got.sum) == float(loss(part).sum)
    assert float(got.metrics["accuracy"][1]) == 5
    assert float(got.weight) == pytest.approx(5.0)  # balanced classes: every weight is 1


def test_the_prediction_is_the_mean_over_the_mirror_images(config, task, variables, batch):
    network = classification.make_network(config)
    spec = classification.make_preprocess(config)
    x = preprocess(batch["image"], batch["mask"], spec, jnp)
    params, batch_stats = variables
    apply = jax.jit(
        lambda x: network.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
    )
    views = [apply(jnp.flip(x, axes)) for axes in ((), (1,), (2,), (3,))]
    got = jax.jit(task.predict)(params, batch_stats, batch)
    np.testing.assert_allclose(got["logit"], np.mean(views, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(got["index"], batch["index"])


def test_the_summary_is_that_of_the_pooled_rows(task):
    rng = np.random.default_rng(1)
    label, logit = np.tile([0.0, 1.0], 10), rng.normal(size=20)
    outputs = [
        {"label": label[:13], "logit": logit[:13]},
        {"label": label[13:], "logit": logit[13:]},
    ]
    summary = task.summarize(outputs)
    assert summary["auc"] == pytest.approx(roc.auc(label, logit))
    likelihood = np.where(label == 1, 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit)))
    assert summary["loss"] == pytest.approx(-np.log(likelihood).mean())
    assert summary["accuracy"] == np.mean((logit > 0) == (label == 1))


@pytest.mark.parametrize(
    ("monitor", "mode"), [("auc", "max"), ("accuracy", "max"), ("loss", "min")]
)
def test_the_monitored_metric_knows_which_way_is_better(config, batch, monitor, mode):
    changed = config.copy_and_resolve_references()
    changed.train.monitor = monitor
    task = classification.make_task(changed)
    assert (task.monitor, task.mode) == (monitor, mode)


def _placed_start(task, optimizer, how):
    first = jax.jit(lambda: state.create(task, optimizer, seed=0, ema=False))()
    return how.place(jax.tree.map(np.array, jax.device_get(first)))  # copies: steps are donated


@pytest.mark.extras
def test_it_learns_eight_crops_by_heart(task, batch):
    optimizer = optax.adam(0.02)
    how = parallel.make("jit", jax.devices()[:1])
    step = steps.make_train_step(task, optimizer, seed=0)
    train = how.compile_train(lambda: step)
    now, placed = _placed_start(task, optimizer, how), how.shard(batch)
    for _ in range(40):
        now, metrics = train(now, placed)
    total, weight = metrics["loss"]
    assert float(total) / float(weight) < 0.1


@pytest.mark.extras
@pytest.mark.parametrize("mixed", [0.0, 0.4])
def test_the_loss_over_a_mapped_axis_adds_up_to_that_of_the_whole_batch(
    config, variables, batch, mixed
):
    """The part that the task has in pmap; `training/parallel_test.py` has the rest."""
    config = config.copy_and_resolve_references()
    config.augment.mixup = mixed
    task = classification.make_task(config)
    loss = jax.jit(lambda batch: task.loss(*variables, batch, keys, None))
    keys = jax.random.split(jax.random.key(1), 8)
    halves = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), (batch, keys))
    part = jax.vmap(lambda b, k: task.loss(*variables, b, k, "rows"), axis_name="rows")
    got, whole = jax.jit(part)(*halves), loss(batch)
    for name in ("sum", "weight", "metrics"):
        added = jax.tree.map(lambda x: x.sum(axis=0), getattr(got, name))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), added, getattr(whole, name)
        )
    for side in range(2):  # both have seen the statistics of all rows
        jax.tree.map(
            lambda a, b, side=side: np.testing.assert_allclose(a[side], b, rtol=1e-4, atol=1e-6),
            got.batch_stats,
            whole.batch_stats,
        )


@pytest.mark.extras
def test_a_mixed_example_is_held_against_the_labels_of_both(config, variables, batch):
    """With one picture for all rows, mixing changes the targets alone: labels 0 and 1 in turn."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.augment.update(flip=(0.0,) * 3, shift_mm=0.0, hu_scale=0.0, hu_shift=0.0)
        config.augment.update(mixup=0.5)
    batch = batch | {"image": np.broadcast_to(batch["image"][:1], batch["image"].shape)}
    keys = jax.random.split(jax.random.key(1), 8)
    loss = classification.make_task(config).loss
    of_label = [
        float(loss(*variables, batch | {"label": np.full(8, y, np.float32)}, keys, None).sum) / 8
        for y in (0.0, 1.0)
    ]
    got = loss(*variables, batch, keys, None)
    dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)[1]
    mixup_keys = jax.vmap(jax.random.fold_in, (0, None))(dropout_keys, classification._MIXUP)
    _, ((_, own), _) = mixup.mixed(mixup_keys, np.zeros((8, 1)), np.zeros(8), 0.5, None)
    own = np.asarray(own)
    assert 0.5 <= own.min() < 0.9
    wanted = sum(
        share * of_label[int(y)] + (1 - share) * of_label[1 - int(y)]
        for share, y in zip(own, batch["label"], strict=True)
    )
    assert float(got.sum) == pytest.approx(wanted, rel=1e-5)
    assert float(got.weight) == pytest.approx(8.0, rel=1e-6)

"""Controls: what a classifier must learn, and that it learns nothing where there is nothing.

Lesions are balls in a lung. Their class shows in the size alone, or in the texture alone with sizes
balanced, or nowhere.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import senet
from dtc_jax.statistics import roc
from dtc_jax.tasks import classification
from dtc_jax.training import optimizer, state, steps

SIDE, TRAINED, TESTED, BATCH, STEPS = 20, 160, 240, 32, 160


def _lesions(kind: str, seed: int) -> dict[str, np.ndarray]:
    """A batch of all lesions, the trained ones first."""
    rng = np.random.default_rng(seed)
    count = TRAINED + TESTED
    label = rng.permutation(np.arange(count) % 2)
    shown = rng.permutation(label) if kind == "shuffled" else label
    balanced = rng.choice([4.0, 5.0], count)
    radius_mm = balanced if kind == "texture" else np.where(shown == 1, 5.0, 4.0)
    grain_hu = np.where(shown == 1, 250.0, 30.0) if kind != "size" else np.full(count, 100.0)
    away = np.indices((SIDE,) * 3) - (SIDE - 1) / 2
    mask = (away**2).sum(axis=0)[None] < radius_mm[:, None, None, None] ** 2  # [N, d, h, w]
    noise = rng.normal(0, 1, mask.shape)
    hu = np.where(mask, -300 + grain_hu[:, None, None, None] * noise, -800 + 60 * noise)
    return {
        "image": hu.astype(np.int16),
        "mask": mask.astype(np.uint8),
        "extent": np.tile(np.array([0, SIDE], np.int32), (count, 3, 1)),
        "label": label.astype(np.float32),
        "weight": np.ones(count, np.float32),
        "valid": np.ones(count, np.float32),
        "index": np.arange(count, dtype=np.int32),
    }


@pytest.fixture(scope="module")
def learn():
    """Trains on the first lesions of a batch; returns the AUC of the others."""
    config = senet.get_config("demo").unlock()
    config.data.size_mm, config.preprocess.crop_mm = (SIDE,) * 3, (16, 16, 16)
    config.model.update(width=8, stages=2, dropout=0.0)
    config.augment.resampled = 0.0  # interpolation blurs a texture of single voxels
    config.optimizer.learning_rate = 0.01
    task = classification.make_task(config)
    adam = optimizer.make_optimizer(config.optimizer, STEPS)
    step = jax.jit(steps.make_train_step(task, adam, seed=0))
    first = jax.jit(lambda: state.create(task, adam, seed=0, ema=False))()
    predict = jax.jit(task.predict)

    def of(lesions: dict[str, np.ndarray]) -> float:
        now, rng = first, np.random.default_rng(0)
        for _ in range(STEPS):
            rows = rng.choice(TRAINED, BATCH, replace=False)
            now, _ = step(now, {name: jnp.asarray(x[rows]) for name, x in lesions.items()})
        tested = {name: jnp.asarray(x[TRAINED:]) for name, x in lesions.items()}
        logit = predict(now.params, now.batch_stats, tested)["logit"]
        return float(roc.auc(lesions["label"][TRAINED:], np.asarray(logit, float)))

    return of


@pytest.mark.extras
def test_a_class_that_shows_in_size_alone_is_learned(learn):
    assert learn(_lesions("size", 0)) > 0.9


@pytest.mark.extras
def test_a_class_that_shows_in_texture_alone_is_learned_from_the_image(learn):
    lesions = _lesions("texture", 0)
    assert learn(lesions) > 0.9
    blind = lesions | {"image": np.full_like(lesions["image"], -500)}
    assert learn(blind) < 0.7  # so the sizes are balanced, and a network that sees none would fail


@pytest.mark.extras
def test_shuffled_labels_are_not_learned(learn):
    assert learn(_lesions("shuffled", 0)) == pytest.approx(0.5, abs=0.12)  # 3 standard errors

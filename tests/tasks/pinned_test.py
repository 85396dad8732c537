"""A few steps of each network on fixed data give the numbers that they have always given.

If a number changes unintentionally, an edit of a network, a loss, the augmentation or the optimizer
has changed every result. If the change was intended, update the number. (Compiler flags and forms
of the convolution move them by less than 1e-6.)
"""

import jax
import numpy as np
import pytest

from configs import senet, vnet
from dtc_jax.tasks import classification, segmentation
from dtc_jax.training import optimizer, state, steps

SIDE = 12
CLASSIFIER = (1.27275, 1.13868, 0.68809)
SEGMENTER = (1.65492, 1.55062, 1.80485)


def _batch():
    """Four scans of noise about a ball, bright in every second one."""
    rng = np.random.default_rng(0)
    image = rng.normal(-800, 50, (4, SIDE, SIDE, SIDE))
    ball = ((np.indices((SIDE,) * 3) - 5.5) ** 2).sum(axis=0) < 9
    label = (np.arange(4) % 2).astype(np.float32)
    image += ball * (300 + 500 * label[:, None, None, None])
    return {
        "image": image.astype(np.int16),
        "mask": np.tile(ball.astype(np.uint8), (4, 1, 1, 1)),
        "extent": np.tile(np.array([0, SIDE], np.int32), (4, 3, 1)),
        "label": label,
        "weight": np.ones(4, np.float32),
        "index": np.arange(4, dtype=np.int32),
        "valid": np.ones(4, np.float32),
    }


def _losses(task, config):
    """Of the first three steps."""
    update = optimizer.make_optimizer(config.optimizer, total_steps=10)
    current = jax.jit(lambda: state.create(task, update, seed=0, ema=True))()
    step = jax.jit(steps.make_train_step(task, update, seed=0, ema_decay=0.9))
    found = []
    for _ in range(3):
        current, metrics = step(current, _batch())
        total, weight = metrics["loss"]
        found.append(float(total / weight))
    return found


def test_the_classifiers_first_losses():
    config = senet.get_config("demo").unlock()
    config.preprocess.crop_mm = (8, 8, 8)
    config.model.update(width=4, stages=1)
    task = classification.make_task(config)
    assert _losses(task, config) == pytest.approx(CLASSIFIER, abs=1e-4)


@pytest.mark.extras
def test_the_segmenters_first_losses():
    config = vnet.get_config("demo").unlock()
    config.preprocess.update(crop_mm=(8, 8, 8), spacing_mm=1.0)
    config.model.update(widths=(4, 8), convolutions=(1, 1))
    task = segmentation.make_task(config)
    assert _losses(task, config) == pytest.approx(SEGMENTER, abs=1e-4)

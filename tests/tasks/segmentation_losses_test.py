"""Segmentation losses in closed form, at their ends, and as sums over examples."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.tasks import segmentation_losses

SURE = 40.0  # a logit whose probability is 1 in float32


def _config(name, **fields):
    defaults = {"smoothing": 1.0, "alpha": 0.3, "beta": 0.7, "gamma": 4 / 3, "empty": "count"}
    return ml_collections.ConfigDict(defaults | {"name": name} | fields)


def _losses(probability, target, name, **fields):
    probability = np.asarray(probability, np.float64).reshape(-1, 1, 2, 2)
    logits = np.log(probability) - np.log1p(-probability)
    target = jnp.asarray(target, jnp.float32).reshape(-1, 1, 2, 2)
    return segmentation_losses.example_losses(
        jnp.asarray(logits, jnp.float32), target, _config(name, **fields)
    )


P = [[0.9, 0.2, 0.6, 0.1]]
T = [[1.0, 0.0, 1.0, 1.0]]
TP, FP, FN = 1.6, 0.2, 1.4


def test_closed_forms():
    dice = 1 - (2 * TP + 1) / (2 * TP + FP + FN + 1)
    tversky = 1 - (TP + 0.5) / (TP + 0.3 * FP + 0.7 * FN + 0.5)
    entropy = -np.mean(np.log([0.9, 0.8, 0.6, 0.1]))
    for name, expected in [
        ("dice", dice),
        ("dice_cross_entropy", dice + entropy),
        ("tversky", tversky),
        ("focal_tversky", tversky**0.75),
    ]:
        assert float(_losses(P, T, name)[0]) == pytest.approx(expected, rel=1e-5), name


def test_dice_is_tversky_with_halves():
    halves = _losses(P, T, "tversky", alpha=0.5, beta=0.5)
    np.testing.assert_allclose(_losses(P, T, "dice"), halves, rtol=1e-6)


def test_without_smoothing_hard_dice_is_that_of_sets():
    found, true = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 1])
    logits = jnp.asarray(np.where(found, SURE, -SURE), jnp.float32).reshape(1, 1, 2, 2)
    target = jnp.asarray(true, jnp.float32).reshape(1, 1, 2, 2)
    loss = segmentation_losses.example_losses(logits, target, _config("dice", smoothing=0.0))
    assert float(loss[0]) == pytest.approx(1 - 2 * 1 / (2 + 3))


def test_each_example_has_its_own_loss():
    both = _losses([*P, [0.5] * 4], [*T, [0.0] * 4], "dice")
    np.testing.assert_allclose(both[:1], _losses(P, T, "dice"))
    np.testing.assert_allclose(both[1:], _losses([[0.5] * 4], [[0.0] * 4], "dice"))


@pytest.mark.parametrize("name", ["dice", "dice_cross_entropy", "tversky", "focal_tversky"])
def test_nothing_there_and_nothing_found_costs_nothing_and_has_a_gradient(name):
    empty = jnp.zeros((1, 1, 2, 2))
    config = _config(name)

    def loss(logits):
        return segmentation_losses.example_losses(logits, empty, config)[0]

    assert float(loss(jnp.full((1, 1, 2, 2), -SURE))) < 1e-4
    assert float(loss(jnp.zeros((1, 1, 2, 2)))) > 0.5
    for logit in (-SURE, 0.0, SURE):
        gradient = jax.grad(loss)(jnp.full((1, 1, 2, 2), logit))
        assert np.isfinite(gradient).all()
    assert (jax.grad(loss)(jnp.zeros((1, 1, 2, 2))) > 0).all()


def test_a_perfect_answer_has_a_finite_gradient():
    target = jnp.ones((1, 1, 2, 2))
    config = _config("focal_tversky", smoothing=0.0)
    gradient = jax.grad(lambda z: segmentation_losses.example_losses(z, target, config)[0])(
        jnp.full((1, 1, 2, 2), SURE)
    )
    assert np.isfinite(gradient).all()


def test_empty_masks_can_be_left_to_the_cross_entropy():
    half, none = [[0.5] * 4], [[0.0] * 4]
    assert float(_losses(half, none, "dice", empty="skip")[0]) == 0
    assert float(_losses(half, none, "dice", empty="count")[0]) == pytest.approx(1 - 1 / 3)
    entropy = _losses(half, none, "dice_cross_entropy", empty="skip")
    assert float(entropy[0]) == pytest.approx(np.log(2), rel=1e-5)
    np.testing.assert_allclose(_losses(P, T, "dice", empty="skip"), _losses(P, T, "dice"))


@pytest.mark.parametrize("field", ["name", "empty"])
def test_unknown_names_are_said(field):
    config = _config("dice")
    segmentation_losses.check(config)
    config[field] = "dise"
    with pytest.raises(UsageError, match=f"config.loss.{field} is 'dise'"):
        segmentation_losses.check(config)

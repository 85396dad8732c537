"""Losses and class weights against scikit-learn and numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from dtc_jax.errors import InputError, UsageError
from dtc_jax.tasks import losses

LOGITS = np.array([-3.0, 0.2, 1.5, -0.4, 40.0, -40.0], np.float32)
LABELS = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0], np.float32)


def _loss(weights, *args):
    total, weight = losses.sigmoid_cross_entropy(
        jnp.asarray(LOGITS), jnp.asarray(LABELS), jnp.asarray(weights, jnp.float32), *args
    )
    return float(total), float(weight)


def test_mean_equals_the_log_loss_of_scikit_learn_with_class_weights():
    valid = [1, 1, 0, 1, 1, 0]  # leaves out the row whose probability rounds to 0
    keep = np.asarray(valid) > 0
    weights = np.where(LABELS == 1, 2.5, 0.7)
    total, weight = _loss(valid * weights)
    rows = weights[keep]
    probability = 1 / (1 + np.exp(-LOGITS[keep].astype(np.float64)))
    expected = log_loss(LABELS[keep], probability, sample_weight=rows)
    assert weight == pytest.approx(rows.sum())
    assert total / weight == pytest.approx(expected, rel=1e-5)


def test_smoothing_is_the_loss_of_the_moved_targets():
    total, weight = _loss(np.ones(6), 0.1)
    target = np.where(LABELS == 1, 0.95, 0.05)
    z = LOGITS.astype(np.float64)
    expected = np.sum(target * np.logaddexp(0, -z) + (1 - target) * np.logaddexp(0, z))
    assert weight == 6
    assert total == pytest.approx(expected, rel=1e-5)


def test_far_logits_stay_finite_in_value_and_gradient():
    def total(z):
        return losses.sigmoid_cross_entropy(z, jnp.array([1.0, 0.0]), jnp.ones(2))[0]

    value, gradient = jax.value_and_grad(total)(jnp.array([-1e4, 1e4]))
    assert float(value) == pytest.approx(2e4)
    np.testing.assert_allclose(gradient, [-1, 1])


def test_rows_without_weight_leave_no_trace_even_if_unlabelled():
    labels = jnp.array([1.0, jnp.nan])

    def total(z):
        return losses.sigmoid_cross_entropy(z, labels, jnp.array([3.0, 0.0]))

    (value, weight), gradient = total(jnp.zeros(2)), jax.grad(lambda z: total(z)[0])(jnp.zeros(2))
    assert float(value) == pytest.approx(3 * np.log(2))
    assert float(weight) == 3
    np.testing.assert_allclose(gradient, [-1.5, 0])


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    np.testing.assert_allclose(losses.class_weights(labels, "balanced"), expected)
    assert losses.class_weights(labels, "none") == (1.0, 1.0)
    assert losses.class_weights(labels, None) == (1.0, 1.0)


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(InputError, match="0 negative and 3 positive"):
        losses.class_weights(np.ones(3), "balanced")
    with pytest.raises(UsageError, match="Did you mean 'balanced'"):
        losses.class_weights(np.array([0, 1]), "balance")

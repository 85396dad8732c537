"""Graded targets, ratings learned beside the class, and weights of lesions."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from configs import senet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.tasks import losses, ratings


@pytest.fixture
def config():
    config = senet.get_config("demo").unlock()
    config.loss.update(graded="uptake_percent", graded_range=(20.0, 0.0), graded_share=0.5)
    config.loss.auxiliary = {"margin": 0.1, "texture": 0.2}
    return config


@pytest.fixture
def training():
    return pd.DataFrame(
        {
            "lesion_id": ["a", "b", "c", "d"],
            "label": [1, 1, 0, 0],
            "uptake_percent": [0.0, 8.0, np.nan, 40.0],
            "margin": [1.0, 3.0, 5.0, 3.0],
            "texture": [2.0, np.nan, 4.0, 6.0],
        }
    )


def test_targets_are_soft_labels_and_standardized_ratings(config, training):
    targets = ratings.targets(config, training)
    # 8 % is .6 of the way from 20 to 0; unknown uptake leaves the label; 40 % counts as 20 %.
    np.testing.assert_allclose(targets[:, 0], [1.0, 0.8, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(targets[:, 1], [-np.sqrt(2), 0, np.sqrt(2), 0], atol=1e-6)
    assert np.isnan(targets[1, 2])
    assert np.nanmean(targets[:, 2]) == pytest.approx(0, abs=1e-6)


def test_without_columns_there_are_no_targets(training):
    config = senet.get_config("demo")
    assert ratings.targets(config, training) is None
    np.testing.assert_array_equal(ratings.weights(config, training), np.ones(4))


def test_weights_have_mean_one(config, training):
    config.loss.lesion_weight = "margin"
    np.testing.assert_allclose(ratings.weights(config, training), np.array([1, 3, 5, 3]) / 3)
    training.loc[2, "margin"] = 0
    with pytest.raises(InputError, match="margin of lesion c is not a number above 0"):
        ratings.weights(config, training)
    training.loc[2, "margin"] = np.inf
    with pytest.raises(InputError, match="margin of lesion c is infinite; give a finite number"):
        ratings.weights(config, training)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "has no column 'margin'"),
        (["low", "low", "high", "high"], "not numbers"),
        (["1", "2", "5_6", "3"], "not numbers"),
        ([2.0] * 4, "the same value, or none, for all"),
        ([0.1, 0.1, 0.1, np.nan], "the same value, or none, for all"),
        ([np.nan] * 4, "the same value, or none, for all"),
        ([1.0, 2.0, np.inf, 3.0], "margin of lesion c is infinite; give a finite number"),
    ],
)
@pytest.mark.parametrize("field", ["auxiliary", "graded"])
def test_columns_that_teach_nothing_are_refused(config, training, field, values, words):
    training = training.drop(columns="margin")
    if values is not None:
        training["margin"] = values
    if field == "graded":
        config.loss.update(graded="margin", graded_range=(1.0, 5.0))
        config.loss.auxiliary = {}
    with pytest.raises(InputError, match=rf"config\.loss\.{field}.*{words}"):
        ratings.targets(config, training)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("graded_range", (5.0, 5.0), r"graded_range=\(5\.0, 5\.0\): give two different numbers"),
        ("graded_range", (1,), r"graded_range=\(1,\): give two different numbers"),
        ("graded_range", (0, np.inf), r"graded_range=\(0, inf\): give two different numbers"),
        ("graded_share", 1.5, r"in \[0, 1\]"),
        ("auxiliary", {"margin": 0.0}, "auxiliary.margin=0.0: use a finite weight above 0"),
        ("auxiliary", {"margin": np.inf}, "auxiliary.margin=inf: use a finite weight above 0"),
    ],
)
def test_impossible_fields_are_refused(config, field, value, words):
    config.loss[field] = value
    with pytest.raises(UsageError, match=words):
        ratings.check(config)


def test_unknown_ratings_and_rows_of_no_weight_have_no_gradient():
    outputs = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    targets = jnp.array([[0.0, np.nan], [1.0, 1.0], [np.nan, 0.0]])
    weights, each = jnp.array([1.0, 2.0, 0.0]), jnp.array([0.5, 0.1])
    total, slope = jax.value_and_grad(losses.squared_errors)(outputs, targets, weights, each)
    assert total == pytest.approx(0.5 * 1 + 2 * (0.5 * 4 + 0.1 * 9))
    np.testing.assert_allclose(slope, [[1.0, 0.0], [4.0, 1.2], [0.0, 0.0]], rtol=1e-6)

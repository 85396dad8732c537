"""Thresholds: optimal by exhaustive search, chosen on validation rows alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dtc_jax.errors import UsageError
from dtc_jax.statistics import threshold


def _sample(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 80)
    labels[:2] = 0, 1
    return labels, np.round(rng.normal(labels), 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", ["youden", "accuracy"])
def test_no_cut_is_better(rule, seed):
    labels, scores = _sample(seed)
    score_of = {"youden": metrics.balanced_accuracy_score, "accuracy": metrics.accuracy_score}[rule]
    cuts = [*np.unique(scores), np.inf]
    best = max(score_of(labels, scores >= cut) for cut in cuts)
    chosen = threshold.choose(labels, scores, rule)
    assert score_of(labels, scores >= chosen) == pytest.approx(best)


def test_a_target_that_is_a_whole_number_of_lesions_takes_no_more():
    negative, positive = np.arange(100) / 200, np.linspace(0.001, 1, 50)
    labels, scores = np.repeat([0, 1], [100, 50]), np.append(negative, positive)
    assert (negative < threshold.choose(labels, scores, "specificity:0.93")).sum() == 93


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", [0.0, 0.5, 0.9, 1.0])
def test_asked_sensitivity_and_specificity_are_reached_and_not_overdone(target, seed):
    labels, scores = _sample(seed)
    chosen = threshold.choose(labels, scores, f"sensitivity:{target}")
    assert np.mean(scores[labels == 1] >= chosen) >= target
    higher = scores[scores >= chosen]
    if higher.size:
        assert np.mean(scores[labels == 1] > higher.min()) < target
    chosen = threshold.choose(labels, scores, f"specificity:{target}")
    assert np.mean(scores[labels == 0] < chosen) >= target
    lower = scores[scores < chosen]
    if lower.size:
        assert np.mean(scores[labels == 0] < lower.max()) < target


def test_the_cut_lies_midway_between_scores():
    assert threshold.choose(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9]), "youden") == 0.4


@pytest.mark.parametrize("rule", ["best", "youden:.3", "sensitivity", "sensitivity:x", "fixed:1.5"])
def test_unknown_rules_are_refused(rule):
    with pytest.raises(UsageError, match="threshold="):
        threshold.choose(np.array([0, 1]), np.array([0.0, 1.0]), rule)


def _table() -> pd.DataFrame:
    rows = [
        *((0, "validation", 0, 0.2), (0, "validation", 1, 0.4), (0, "validation", np.nan, 0.9)),
        *((0, "test", 1, 0.1), (0, "test", 0, 0.35), (0, "test", 1, np.nan)),
        *((1, "validation", 1, 0.7), (1, "test", 0, 0.6)),
    ]
    return pd.DataFrame(rows, columns=["fold", "split", "label", "score"])


def test_apply_chooses_on_validation_of_each_fold():
    table = threshold.apply(_table(), "youden")
    assert table.threshold.tolist() == pytest.approx([0.3] * 6 + [0.5] * 2)
    assert table.threshold_source[0] == "youden on the validation split"
    assert "lacks a class" in table.threshold_source[6]
    np.testing.assert_array_equal(table.decision, [0, 1, 1, 0, 1, np.nan, 1, 1])


def test_labels_outside_validation_move_nothing():
    flipped = _table()
    flipped.loc[flipped.split == "test", "label"] = 1 - flipped.label
    assert threshold.apply(flipped, "youden").threshold.equals(
        threshold.apply(_table(), "youden").threshold
    )


def test_a_fixed_threshold_needs_no_validation():
    table = threshold.apply(_table(), "fixed:0.65")
    assert set(table.threshold) == {0.65}
    assert set(table.threshold_source) == {"fixed:0.65"}

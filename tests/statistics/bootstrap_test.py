"""The patient bootstrap against scikit-learn on the same resamples, and against the variance."""

import numpy as np
import pytest
from sklearn import metrics

from dtc_jax.statistics import bootstrap, decision_curve, roc


def _sample(mixed: bool = True):
    """60 patients of 4 lesions, of one label each or of both; scores have ties."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 4)
    labels = (rng.normal(size=60)[patient] + mixed * rng.normal(size=240) > 0).astype(int)
    scores = np.round(labels + 0.7 * rng.normal(size=60)[patient] + rng.normal(size=240), 1)
    return labels, scores, np.array([f"P{i:02d}" for i in patient])


def test_curves_are_those_of_scikit_learn_with_lesions_as_often_as_drawn():
    labels, scores, patients = _sample()
    areas, precisions, tpr = bootstrap.curves(labels, scores, patients, 200, 3)
    drawn = np.concatenate(list(bootstrap.draws(labels, patients, 200, 3)))
    _, patient = np.unique(patients, return_inverse=True)
    for b in range(0, 200, 20):
        weight = drawn[b][patient]
        assert areas[b] == pytest.approx(
            metrics.roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12
        )
        expected = metrics.average_precision_score(labels, scores, sample_weight=weight)
        assert precisions[b] == pytest.approx(expected, abs=1e-12)
        x, y, _ = metrics.roc_curve(labels, scores, sample_weight=weight, drop_intermediate=False)
        inside = bootstrap.GRID[~np.isin(bootstrap.GRID, x)]  # at a step either end is right
        rows = np.isin(bootstrap.GRID, inside)
        np.testing.assert_allclose(tpr[b][rows], np.interp(inside, x, y), atol=1e-12)


def test_sums_are_those_of_the_drawn_lesions():
    labels, scores, patients = _sample()
    values = np.stack([scores, labels.astype(float)], axis=1)
    drawn = np.concatenate(list(bootstrap.draws(labels, patients, 200, 1)))
    _, patient = np.unique(patients, return_inverse=True)
    np.testing.assert_allclose(
        bootstrap.sums(values, labels, patients, 200, 1), drawn[:, patient] @ values
    )


def test_counts_of_lesions_are_whole_numbers():
    labels, scores, patients = _sample()
    values = np.stack([scores > 0, labels == 1], axis=1)
    counts = bootstrap.sums(values, labels, patients, 200, 1)  # in single precision
    assert counts.dtype == np.float64
    as_floats = bootstrap.sums(values.astype(float), labels, patients, 200, 1)
    np.testing.assert_array_equal(counts, as_floats)


def test_curves_are_the_same_whatever_the_parts(monkeypatch):
    labels, scores, patients = _sample()
    whole = bootstrap.curves(labels, scores, patients, 200, 3)
    monkeypatch.setattr(bootstrap, "_CACHED", 240 * 7)
    for parts, one in zip(bootstrap.curves(labels, scores, patients, 200, 3), whole, strict=True):
        np.testing.assert_array_equal(parts, one)


def test_patients_are_drawn_within_their_stratum():
    patients = np.array(["a", "a", "b", "c", "c", "d", "e", "f"])
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    drawn = np.concatenate(list(bootstrap.draws(labels, patients, 500, 0)))
    assert (drawn[:, [0, 1]].sum(axis=1) == 2).all()  # a, b: positives alone
    assert (drawn[:, 2] == 1).all()  # c: both
    assert (drawn[:, [3, 4, 5]].sum(axis=1) == 3).all()  # d, e, f: negatives alone
    assert drawn.mean(axis=0) == pytest.approx(np.ones(6), abs=0.1)


def test_its_standard_error_is_the_clustered_one():
    labels, scores, patients = _sample(mixed=False)
    areas, _, _ = bootstrap.curves(labels, scores, patients, 2000, 0)
    clustered = np.sqrt(roc.clustered_variance(labels, scores, patients))
    assert areas.std() == pytest.approx(clustered, rel=0.1)
    assert areas.std() > 1.2 * np.sqrt(roc.delong_variance(labels, scores))


def test_the_same_seed_draws_the_same_patients_whatever_the_chunks(monkeypatch):
    labels, _, patients = _sample()
    whole = np.concatenate(list(bootstrap.draws(labels, patients, 200, 5)))
    again = np.concatenate(list(bootstrap.draws(labels, patients, 200, 5)))
    np.testing.assert_array_equal(whole, again)
    assert not np.array_equal(
        whole, np.concatenate(list(bootstrap.draws(labels, patients, 200, 6)))
    )
    monkeypatch.setattr(bootstrap, "_CELLS", 240 * 7)
    chunks = list(bootstrap.draws(labels, patients, 200, 5))
    assert [len(chunk) for chunk in chunks] == [7] * 28 + [4]


def test_large_tables_are_resampled_less_and_huge_ones_not_at_all():
    assert bootstrap.affordable(2000, 600, 60) == 2000
    assert bootstrap.affordable(2000, 150_000, 60) == 1333
    assert bootstrap.affordable(100, 150_000, 60) == 100
    assert bootstrap.affordable(2000, 1_000_000, 60) == 0
    found = bootstrap.estimate(0.8, np.empty(0), 1_000_000, 1000)
    assert np.isnan(found.low)
    assert found.interval == "none: too many lesions to resample"


def test_a_handful_of_patients_is_not_resampled():
    """Of three, each in a stratum of its own, all resamples are the sample itself."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0])
    scores = np.array([0.9, 0.8, 0.3, 0.6, 0.4, 0.2, 0.7, 0.1, 0.6, 0.5, 0.35, 0.2])
    patients = np.repeat(["a", "b", "c"], 4)
    areas, _, _ = bootstrap.curves(labels, scores, patients, 2000, 0)
    found = bootstrap.estimate(roc.auc(labels, scores), areas, 12, 3)
    assert (found.as_dict()["low"], found.interval) == (None, "none: too few patients")
    curve = decision_curve.decision_curve(labels, scores, patients, 2000, 0)
    assert set(curve["model"]["low"]) == {None}


def test_a_percentile_leaves_out_what_cannot_be_had():
    samples = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = bootstrap.band(samples)
    assert (low[0], high[0]) == pytest.approx((1.05, 2.95))
    assert np.isnan([low[1], high[1]]).all()

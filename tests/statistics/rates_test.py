"""Rates and Wilson intervals against statsmodels and against the study's recomputed figures."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from dtc_jax.statistics import rates


def _of(tp: int, fn: int, tn: int, fp: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 1, 0, 0], [tp, fn, tn, fp]), np.repeat([1, 0, 0, 1], [tp, fn, tn, fp])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            (208, 63, 277, 67),
            {
                "accuracy": (0.7886, 0.7546, 0.8190),
                "sensitivity": (0.768, 0.7137, 0.8139),
                "specificity": (0.805, 0.7601, 0.8436),
                "ppv": (0.756, 0.7023, 0.8033),
                "npv": (0.815, 0.7700, 0.8524),
            },
        ),
        (
            (60, 23, 25, 15),
            {
                "accuracy": (0.6911, 0.6047, 0.7659),
                "sensitivity": (0.723, 0.6184, 0.8077),
                "specificity": (0.625, 0.4703, 0.7578),
                "ppv": (0.800, 0.6959, 0.8749),
                "npv": (0.521, 0.3833, 0.6553),
            },
        ),
    ],
)
def test_rates_of_the_study(counts, expected):
    found = rates.rates(*_of(*counts))
    for name, (value, low, high) in expected.items():
        assert found[name].value == pytest.approx(value, abs=6e-4), name
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=6e-5), name
    tp, fn, tn, fp = counts
    assert [found[name].n for name in expected] == [sum(counts), tp + fn, tn + fp, tp + fp, tn + fn]
    assert rates.confusion(*_of(*counts)) == rates.Confusion(tp, fn, tn, fp)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 9), (9, 9), (3, 9), (500, 1000)])
def test_wilson_agrees_with_statsmodels(hits, n):
    found = rates.proportion(np.arange(n) < hits)
    expected = proportion_confint(hits, n, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_nothing_to_count_is_no_number():
    found = rates.rates(np.zeros(4), np.zeros(4))
    assert found["sensitivity"].n == found["ppv"].n == 0
    assert found["sensitivity"].as_dict()["value"] is None
    assert found["accuracy"].value == 1


def test_lesions_of_a_patient_do_not_count_as_independent_ones():
    hits = np.repeat(np.arange(20) < 15, 10)  # 20 patients, all lesions of one alike
    patients = np.repeat(np.arange(20), 10)
    clustered, plain = rates.proportion(hits, patients), rates.proportion(hits)
    one_each = rates.proportion(hits[::10])
    assert clustered.value == plain.value
    assert clustered.low < one_each.low < plain.low
    assert plain.high < one_each.high < clustered.high
    assert (clustered.n, clustered.patients) == (200, 20)


def test_independent_lesions_keep_about_their_width_when_grouped_at_random():
    rng = np.random.default_rng(0)
    hits = rng.random(3000) < 0.3
    plain, clustered = rates.proportion(hits), rates.proportion(hits, np.arange(3000) // 3)
    assert clustered.high - clustered.low == pytest.approx(plain.high - plain.low, rel=0.08)


@pytest.mark.parametrize("share", [0, 1])
def test_a_unanimous_share_counts_each_patient_once(share):
    found = rates.proportion(np.full(40, share), np.repeat(np.arange(4), 10))
    assert (found.low, found.high) == pytest.approx(
        proportion_confint(4 * share, 4, method="wilson")
    )


def test_clustered_interval_covers_at_24_patients():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(24), 5)
    covered = {"clustered": 0, "plain": 0}
    for _ in range(400):
        hits = rng.random(120) < rng.beta(0.7, 0.3, 24)[patients]  # intra-class correlation .5
        for name, ids in (("clustered", patients), ("plain", None)):
            found = rates.proportion(hits, ids)
            covered[name] += found.low <= 0.7 <= found.high
    assert covered["clustered"] / 400 > 0.92
    assert covered["plain"] / 400 < 0.85

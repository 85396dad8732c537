"""Correlations and AUC at equal size, against closed forms, and the coverage of their intervals."""

import numpy as np
import pytest
from scipy import stats

from dtc_jax.statistics import drivers, jackknife, roc


def _cohort(seed=0, patients=120, per_patient=3, effect=0.0):
    """Lesions whose class shows in the diameter, and in the texture by `effect`."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), per_patient)
    label = rng.integers(0, 2, len(patient))
    diameter = rng.lognormal(2 + 0.8 * label, 0.4)
    own = rng.normal(size=patients)[patient]
    texture = effect * label + 0.7 * own + 0.7 * rng.normal(size=len(patient))
    return patient, label, diameter, texture


def test_size_alone_tells_nothing_at_equal_size_and_texture_does():
    patient, label, diameter, texture = _cohort(effect=1.0)
    assert roc.auc(label, diameter) > 0.85
    of_size = drivers.auc_at_equal_size(label, diameter, diameter, patient)
    assert of_size.low < 0.5 < of_size.high
    assert of_size.high - of_size.low < 0.3
    of_texture = drivers.auc_at_equal_size(label, texture, diameter, patient)
    assert of_texture.value == pytest.approx(stats.norm.cdf(1 / np.sqrt(2 * 0.98)), abs=0.05)
    both = drivers.auc_at_equal_size(label, texture + 5 * diameter, np.ones(len(label)), patient)
    assert both.value == pytest.approx(roc.auc(label, texture + 5 * diameter))
    assert both.n == len(label)


def test_pairs_are_those_of_the_same_half_millimetre():
    label = np.array([1, 0, 1, 0, 0, 1])
    diameter = np.array([4.1, 4.4, 5.5, 5.9, 5.6, 9.0])  # the last has no partner
    score = np.array([0.9, 0.1, 0.2, 0.3, 0.1, 0.0])
    found = drivers.auc_at_equal_size(label, score, diameter, np.arange(6))
    assert found.value == pytest.approx((1 + 1) / 3)
    assert (found.n, found.patients) == (5, 5)


def test_correlations_are_those_of_scipy_and_of_the_closed_form():
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 400))
    x, y = x + z, y + z + 0.5 * x
    patients = np.arange(400)
    r = {
        pair: stats.spearmanr(*values).statistic
        for pair, values in {"xy": (x, y), "xz": (x, z), "yz": (y, z)}.items()
    }
    assert drivers.rank_correlation(x, y, patients).value == pytest.approx(r["xy"])
    partial = (r["xy"] - r["xz"] * r["yz"]) / np.sqrt((1 - r["xz"] ** 2) * (1 - r["yz"] ** 2))
    found = drivers.partial_rank_correlation(x, y, z[:, None], patients)
    assert found.value == pytest.approx(partial)
    assert np.isnan(drivers.partial_rank_correlation(x, z, z[:, None], patients).value)
    assert np.isnan(drivers.rank_correlation(x, np.ones(400), patients).value)


def test_the_interval_covers_what_it_says_where_patients_have_several_lesions():
    def mean_of(seed):
        patient, _, _, texture = _cohort(seed, patients=60, per_patient=4)
        return jackknife.estimate(lambda rows: float(texture[rows].mean()), patient, seed=seed)

    covered = [found.low < 0 < found.high for found in map(mean_of, range(300))]
    assert 0.91 < np.mean(covered) < 0.98  # lesions as units: about .75


@pytest.mark.parametrize(("value", "scale"), [(1.0, "logit"), (0.0, "logit"), (-1.0, "fisher")])
def test_a_value_at_the_end_of_its_scale_has_no_interval(value, scale):
    found = jackknife.estimate(lambda rows: value, np.arange(20), scale)
    assert found.value == value
    assert np.isnan([found.low, found.high]).all()
    assert found.interval.startswith("none: at the end of its scale")


def test_too_few_patients_have_no_interval():
    found = jackknife.estimate(lambda rows: 0.5, np.array([1, 1, 2, 3]), "logit")
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()
    assert found.interval == "none: too few patients"


def test_a_score_that_is_constant_is_not_short_of_patients():
    found = drivers.rank_correlation(np.full(20, 0.5), np.arange(20.0), np.arange(20))
    assert np.isnan(found.value)
    assert found.interval == "none: undefined for these lesions"

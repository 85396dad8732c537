"""AUC, its variances and its intervals against scikit-learn, SciPy and statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn import metrics

from dtc_jax.statistics import roc


def _sample(seed: int, n: int = 200, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scores = rng.normal(labels * 0.8)
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_curve_agree_with_scikit_learn(ties):
    labels, scores = _sample(0, ties=ties)
    assert roc.auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
    ours = roc.curve(labels, scores)
    theirs = metrics.roc_curve(labels, scores, drop_intermediate=False)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize("ties", [False, True])
def test_delong_variance_is_the_one_of_brunner_and_munzel(ties):
    labels, scores = _sample(1, ties=ties)
    statistic = stats.brunnermunzel(scores[labels == 0], scores[labels == 1]).statistic
    expected = ((roc.auc(labels, scores) - 0.5) / statistic) ** 2
    assert roc.delong_variance(labels, scores) == pytest.approx(expected)


def test_clustered_variance_is_the_cluster_robust_one_where_patients_are_of_one_class():
    rng = np.random.default_rng(2)
    patients = rng.integers(0, 30, 150)
    labels = patients % 2
    scores = rng.normal(labels + rng.normal(size=30)[patients])
    expected = 0.0
    for value in (0, 1):
        own, other = scores[labels == value], scores[labels != value]
        placements = (own[:, None] > other).mean(axis=1)
        fit = sm.OLS(placements, np.ones_like(placements)).fit(
            cov_type="cluster", cov_kwds={"groups": patients[labels == value]}
        )
        expected += fit.bse[0] ** 2
    assert roc.clustered_variance(labels, scores, patients) == pytest.approx(expected)


def test_clustered_variance_is_not_fooled_by_copies_of_lesions():
    labels, scores = _sample(3, 60)
    patients = np.arange(60) // 2  # both classes within patients: the covariance term counts
    copied = [np.repeat(values, 4) for values in (labels, scores, patients)]
    assert roc.clustered_variance(*copied) == pytest.approx(
        roc.clustered_variance(labels, scores, patients)
    )
    assert roc.delong_variance(*copied[:2]) < 0.3 * roc.delong_variance(labels, scores)


def test_clustered_variance_is_the_jackknife_over_patients_in_the_large():
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(400), 3)
    labels = rng.integers(0, 2, 1200)
    scores = rng.normal(labels * 0.7 + rng.normal(size=400)[patients])
    left_out = [
        metrics.roc_auc_score(labels[patients != p], scores[patients != p]) for p in range(400)
    ]
    jackknife = 399**2 / 400 * np.var(left_out, ddof=1)
    assert roc.clustered_variance(labels, scores, patients) == pytest.approx(jackknife, rel=0.01)


def test_interval_of_the_study_is_about_its_hanley_mcneil_one():
    rng = np.random.default_rng(5)  # binormal scores of the printed internal AUC, .879 (.852-.906)
    labels = np.repeat([1, 0], [271, 344])
    scores = rng.normal(labels * np.sqrt(2) * stats.norm.ppf(0.879))
    found = roc.auc_interval(labels, scores)
    assert found.high - found.low == pytest.approx(0.906 - 0.852, abs=0.01)
    assert (found.interval, found.n, found.patients) == ("delong, logit", 615, None)


def test_clustered_interval_covers_at_24_patients_where_delong_does_not():
    """The external cohort's shape: 11 + 13 patients of one class each, about five lesions each."""
    rng = np.random.default_rng(6)
    patients = np.repeat(np.arange(24), 5)
    labels = (patients >= 11).astype(int)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered = {"clustered": 0, "delong": 0}
    for _ in range(300):
        effect = rng.normal(size=24)[patients] * np.sqrt(0.5)
        scores = labels + effect + rng.normal(size=120) * np.sqrt(0.5)
        for name, ids in (("clustered", patients), ("delong", None)):
            found = roc.auc_interval(labels, scores, ids)
            covered[name] += found.low <= truth <= found.high
    assert covered["clustered"] / 300 > 0.92
    assert covered["delong"] / 300 < 0.85


def test_small_sample_variance_is_at_least_obuchowskis():
    rng = np.random.default_rng(0)
    for _ in range(300):
        patients = np.repeat(np.arange(6), [rng.integers(8, 25), *rng.integers(2, 6, 5)])
        labels = rng.integers(0, 2, len(patients))
        labels[:2], labels[-2:] = (0, 1), (0, 1)  # two patients have both
        scores = labels + rng.normal(size=6)[patients] + rng.normal(size=len(labels))
        moved = roc.deviations(labels, scores, patients, 6)
        variance, _ = roc.small_sample(labels, patients, *moved)
        assert variance >= roc.clustered_variance(labels, scores, patients) - 1e-12


def test_small_sample_form_is_obuchowskis_where_patients_have_equally_many_lesions():
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(24), 5)
    labels = (patients >= 11).astype(int)
    scores = rng.normal(labels + rng.normal(size=24)[patients])
    moved = roc.deviations(labels, scores, patients, 24)
    variance, degrees = roc.small_sample(labels, patients, *moved)
    assert variance == pytest.approx(roc.clustered_variance(labels, scores, patients))
    s10, s01 = 13 / 12 * np.sum(moved[0] ** 2), 11 / 10 * np.sum(moved[1] ** 2)
    assert degrees == pytest.approx((s10 + s01) ** 2 / (s10**2 / 12 + s01**2 / 10))


def test_a_few_patients_with_most_of_the_lesions_are_few():
    rng = np.random.default_rng(8)
    even = np.repeat(np.arange(24), 10)
    skewed = np.repeat(np.arange(24), np.r_[np.ones(10), 110, np.ones(11), 100, 9].astype(int))
    degrees = []
    for patients in (even, skewed):
        labels = (patients >= 11).astype(int)
        scores = rng.normal(labels + rng.normal(size=24)[patients])
        moved = roc.deviations(labels, scores, patients, 24)
        degrees.append(roc.small_sample(labels, patients, *moved)[1])
    assert 10 < degrees[0] < 23
    assert 1 <= degrees[1] < 3


@pytest.mark.parametrize(
    ("labels", "scores", "patients"),
    [
        ([0, 1], [0.1, 0.9], None),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], None),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], ["a", "a", "b", "b"]),
        ([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1], ["a", "b", "a", "b"]),
        ([0, 0, 0, 1], [0.1, 0.2, 0.8, 0.5], None),
        ([0, 1, 0, 1, 1], [0.5] * 5, ["a", "a", "b", "b", "c"]),
    ],
)
def test_tiny_and_perfect_samples_have_an_interval_with_width(labels, scores, patients):
    found = roc.auc_interval(np.array(labels), np.array(scores), patients)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.2
    assert found.interval == "newcombe"


def test_perfect_auc_gets_tighter_with_more_lesions_but_not_with_more_of_the_same_patients():
    def low(lesions, patients):
        labels = np.arange(lesions) % 2
        ids = np.arange(lesions) % patients
        return roc.auc_interval(labels, labels.astype(float), ids).low

    assert low(20, 20) < low(100, 100) < low(1000, 1000) < 1
    assert low(1000, 20) == pytest.approx(low(20, 20))


def test_one_class_has_no_auc_and_bad_arrays_are_refused():
    found = roc.auc_interval(np.ones(5), np.arange(5.0))
    assert np.isnan(found.value)
    assert found.as_dict()["value"] is None
    with pytest.raises(ValueError, match="finite"):
        roc.auc(np.array([0, 1]), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="must both be"):
        roc.auc(np.array([0, 1]), np.array([0.0]))

"""What a score follows beyond the size of the lesion.

Size alone tells most malignant from benign nodules, so a score can have a good AUC and have learned
nothing else. Among lesions of equal size it is of no help.
"""

import numpy as np
from scipy import stats

from dtc_jax.statistics import jackknife, roc
from dtc_jax.statistics.estimate import Estimate

STRATUM_MM = 0.5  # in 1 mm, size alone still reaches .63 on lung nodules
_EXPLAINED = 1e10  # condition of a matrix of correlations where one follows from the others


def rank_correlation(score: np.ndarray, value: np.ndarray, patients: np.ndarray) -> Estimate:
    """Spearman's correlation of the scores with a value of the lesions. # each [N]

    Args:
      score: of each lesion.
      value: what it may follow, such as the diameter.
      patients: whose lesion it is; the resampling draws patients.
    """
    return jackknife.estimate(
        lambda rows: _correlation(stats.rankdata(score[rows]), stats.rankdata(value[rows])),
        patients,
        "fisher",
    )


def partial_rank_correlation(
    score: np.ndarray, value: np.ndarray, given: np.ndarray, patients: np.ndarray
) -> Estimate:
    """Spearman's correlation of scores and value once others are known.

    What is left of the ranks of both after a regression on the ranks of what is given is
    correlated: an entry of the inverse of the matrix of correlations.

    Args:
      score: [N].
      value: [N].
      given: [N, K], such as diameter and label.
      patients: [N] patient ids.
    """

    def statistic(rows: np.ndarray) -> float:
        ranks = stats.rankdata(np.stack([score, value, *given.T])[:, rows], axis=1)
        if (np.ptp(ranks, axis=1) == 0).any():
            return float("nan")
        correlation = np.corrcoef(ranks)  # [2 + K, 2 + K]
        if np.linalg.cond(correlation) > _EXPLAINED:
            return float("nan")
        inverse = np.linalg.inv(correlation)
        return float(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))

    return jackknife.estimate(statistic, patients, "fisher")


def auc_at_equal_size(
    labels: np.ndarray, score: np.ndarray, diameter_mm: np.ndarray, patients: np.ndarray
) -> Estimate:
    """How often a positive lesion scores above a negative one of its own size.

    Lesions are compared within strata of `STRATUM_MM`, as in the stratified Wilcoxon test of van
    Elteren. Each pair counts the same. A score that knows the size alone gets little more than .5.

    Args:
      labels: [N] 0 or 1.
      score: [N].
      diameter_mm: [N].
      patients: [N] patient ids.

    Returns:
      n is the number of predictions in strata with both classes.
    """
    strata = np.floor(np.asarray(diameter_mm, np.float64) / STRATUM_MM).astype(np.int64)
    mixed = np.intersect1d(strata[labels == 1], strata[labels == 0])
    used = np.flatnonzero(np.isin(strata, mixed))
    labels, score, strata, patients = (x[used] for x in (labels, score, strata, patients))

    def statistic(rows: np.ndarray) -> float:
        concordant = pairs = 0.0
        order = rows[np.argsort(strata[rows], kind="stable")]
        for part in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
            positives = int(labels[part].sum())
            here = positives * (len(part) - positives)
            if here:
                concordant += here * roc.auc(labels[part], score[part])
                pairs += here
        return concordant / pairs if pairs else float("nan")

    return jackknife.estimate(statistic, patients, "logit")


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])

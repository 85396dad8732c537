"""The stratified bootstrap over patients, vectorized over resamples.

A resample draws patients with replacement within each stratum (patients with positives only, with
negatives only, with both), so no resample loses a class. It is represented by how often each
patient is drawn: every count of lesions in it is then a matrix product or a cumulative sum.
"""

from collections.abc import Iterator

import numpy as np

from dtc_jax.statistics.estimate import Estimate

GRID = np.linspace(0, 1, 101)  # false positive rates of the ROC band
_CELLS = 4_000_000  # of the largest array in memory
_MAX_LESIONS = 200_000
_FEWEST = 5  # patients: the resamples of fewer agree too much, or all, where a stratum has one
_EXACT = 2**24  # whole numbers below it are exact in float32, whose products take half the time
_CACHED = 800_000  # cells of the resamples whose curves are drawn together: they fit a cache


def draws(labels: np.ndarray, patients: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each patient (in the order of `np.unique`) is drawn, in chunks of resamples.

    Args:
      labels: [N] 0 or 1.
      patients: [N] patient ids.
      count: number of resamples, see `affordable`.
      seed: the same seed draws the same patients.

    Yields:
      [C, patients] counts as float.
    """
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    labels = np.asarray(labels)
    has = np.stack([np.bincount(patient[labels == v], minlength=len(names)) > 0 for v in (0, 1)])
    strata = [np.flatnonzero(rows) for rows in (has[0] & ~has[1], ~has[0] & has[1], has.all(0))]
    rng = np.random.default_rng(seed)
    left, chunk = affordable(count, len(labels), len(names)), max(1, _CELLS // max(len(labels), 1))
    while left > 0:
        size = min(chunk, left)
        drawn = np.zeros((size, len(names)))
        for stratum in strata:
            n = len(stratum)
            if n:
                index = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
                drawn[:, stratum] = np.bincount(index.ravel(), minlength=size * n).reshape(size, n)
        yield drawn
        left -= size


def affordable(count: int, lesions: int, patients: int) -> int:
    """The number of resamples drawn of `count`.

    They are fewer for large tables. There are none for huge ones, and none of a handful of
    patients.

    Args:
      count: that is wanted.
      lesions: rows of the table.
      patients: of these.
    """
    if lesions > _MAX_LESIONS or patients < _FEWEST:
        return 0
    return min(count, max(200, 50 * _CELLS // max(lesions, 1)))


def sums(
    values: np.ndarray, labels: np.ndarray, patients: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Sums over the lesions of each resample.

    Args:
      values: [N, K] of each lesion, numbers or bool.
      labels: [N] 0 or 1.
      patients: [N] patient ids.
      count: see `draws`.
      seed: see `draws`.

    Returns:
      [resamples, K].
    """
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    if not affordable(count, len(values), len(names)):
        return np.empty((0, values.shape[1]))
    by_patient = np.stack([np.bincount(patient, column) for column in values.T], axis=1)
    if values.dtype == bool and by_patient.max() * len(by_patient) < _EXACT:
        by_patient = by_patient.astype(np.float32)
    chunks = (drawn.astype(by_patient.dtype) for drawn in draws(labels, patients, count, seed))
    return np.concatenate([chunk @ by_patient for chunk in chunks]).astype(np.float64)


def curves(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AUC, average precision and true positive rates at `GRID` of each resample.

    Args:
      labels: [N] 0 or 1, of both classes.
      scores: [N].
      patients: [N] patient ids.
      count: see `draws`.
      seed: see `draws`.

    Returns:
      [resamples], [resamples], [resamples, 101].
    """
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    if not affordable(count, len(scores), len(names)):
        return np.empty(0), np.empty(0), np.empty((0, len(GRID)))
    order = np.argsort(-np.asarray(scores), kind="stable")
    last = np.flatnonzero(np.append(np.diff(np.asarray(scores)[order]) != 0, True))
    positive = np.asarray(labels)[order] == 1
    areas, precisions, rates = [], [], []
    size = max(2, _CACHED // len(order))  # NumPy adds up a single resample in another order
    chunks = draws(labels, patients, count, seed)
    parts = (part for c in chunks for part in np.array_split(c, max(1, len(c) // size)))
    for drawn in parts:
        weights = drawn[:, patient[order]]  # [C, N]
        true = np.cumsum(weights * positive, axis=1)[:, last]  # [C, distinct scores]
        both = np.cumsum(weights, axis=1)[:, last]
        false = both - true
        tpr = np.pad(true / true[:, -1:], ((0, 0), (1, 0)))
        fpr = np.pad(false / false[:, -1:], ((0, 0), (1, 0)))
        areas.append(np.trapezoid(tpr, fpr, axis=1))
        precision = true / np.maximum(both, 1)  # 0 before the first lesion that is drawn
        precisions.append(np.sum(np.diff(tpr, axis=1) * precision, axis=1))
        rates.append([np.interp(GRID, x, y) for x, y in zip(fpr, tpr, strict=True)])
    return np.concatenate(areas), np.concatenate(precisions), np.concatenate(rates)


def band(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 and 97.5 percentiles over resamples [B, ...], pointwise, without NaN."""
    if len(samples) and not np.isnan(samples).any():
        low, high = np.percentile(samples, [2.5, 97.5], axis=0)
        return low, high
    unknown = np.isnan(samples).all(axis=0)  # also without resamples
    filled = np.concatenate([samples, np.where(unknown, 0, np.nan)[None]])
    low, high = np.where(unknown, np.nan, np.nanpercentile(filled, [2.5, 97.5], axis=0))
    return low, high


def estimate(value: float, samples: np.ndarray, n: int, patients: int) -> Estimate:
    """`value` with the percentile interval of its resamples [B].

    Args:
      value: of the sample itself.
      samples: of the resamples, see `affordable`; NaN where one was undefined.
      n: lesions.
      patients: of these.
    """
    low, high = band(samples)
    name = f"percentile, {len(samples)} patient resamples"
    if not len(samples):
        few = patients < _FEWEST
        name = "none: too few patients" if few else "none: too many lesions to resample"
    return Estimate(float(value), float(low), float(high), n, patients, name)

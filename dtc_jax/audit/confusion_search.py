"""Finds every confusion matrix whose rates round to the printed ones."""

import itertools
from collections.abc import Mapping

import numpy as np

from dtc_jax.audit.printed import Printed
from dtc_jax.errors import InputError
from dtc_jax.statistics.rates import Confusion

RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
_MAX_OF_A_CLASS = 50_000_000  # takes some seconds and GB
_MAX_PAIRS = 200_000_000  # takes some seconds
_CHUNK = 1_000_000


def values(tp: np.ndarray, fn: np.ndarray, tn: np.ndarray, fp: np.ndarray) -> dict[str, np.ndarray]:
    """The rates of confusion matrices; NaN where nothing is counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": (tp + tn) / (tp + fn + tn + fp),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
        }


def search(
    rates: Mapping[str, Printed], positives: range, negatives: range, at_most: int
) -> tuple[list[Confusion], tuple[str, ...]]:
    """The matrices that fit all rates or, if none does, as many rates as possible.

    Args:
      rates: the printed ones, by name.
      positives: numbers of positive lesions to try; not empty.
      negatives: numbers of negative lesions to try; not empty.
      at_most: total number of lesions.

    Returns:
      The matrices, smallest first, and the rates that the first of them does not fit.

    Raises:
      InputError: there are too many matrices to search.
    """
    for misfits in range(len(rates)):
        matrices: dict[Confusion, tuple[str, ...]] = {}
        for left_out in itertools.combinations(rates, misfits):
            kept = {name: printed for name, printed in rates.items() if name not in left_out}
            matrices |= dict.fromkeys(_fitting(kept, positives, negatives, at_most), left_out)
        if matrices:
            order = sorted(matrices, key=lambda c: (c.tp + c.fn + c.tn + c.fp, c.tp))
            return order, matrices[order[0]]
    return [], tuple(rates)


def _fitting(
    rates: Mapping[str, Printed], positives: range, negatives: range, at_most: int
) -> list[Confusion]:
    """The matrices that fit all rates: candidates for each class first, then their pairs."""
    of_a_class = max(map(_candidates, (positives, negatives)))
    if of_a_class > _MAX_OF_A_CLASS:  # before there is an array of them
        raise _too_many(of_a_class)
    tp, fn = _right_and_wrong(positives, rates.get("sensitivity"))
    tn, fp = _right_and_wrong(negatives, rates.get("specificity"))
    if len(tp) * len(tn) > _MAX_PAIRS:
        raise _too_many(len(tp) * len(tn))
    matrices = []
    step = max(1, _CHUNK // max(len(tn), 1))
    for start in range(0, len(tp), step):
        rows = slice(start, start + step)
        cells = [x[rows, None] for x in (tp, fn)] + [x[None] for x in (tn, fp)]
        all_values = values(*cells)
        fits = np.asarray(sum(cells) <= at_most)
        for name, printed in rates.items():
            fits &= printed.fits(all_values[name])
        picked = [np.broadcast_to(x, fits.shape)[fits].tolist() for x in cells]
        matrices += [Confusion(*counts) for counts in zip(*picked, strict=True)]
    return matrices


def _candidates(sizes: range) -> int:
    """How many pairs of right and wrong decisions classes of these sizes have."""
    return (sizes[-1] + sizes[0] + 2) * len(sizes) // 2


def _too_many(count: int) -> InputError:
    return InputError(
        f"{count:.0e} confusion matrices are too many to search; give `positives` and `negatives`, "
        "or a smaller `at_most`."
    )


def _right_and_wrong(sizes: range, rate: Printed | None) -> tuple[np.ndarray, np.ndarray]:
    """Counts of right and wrong decisions on a class that give its rate, if that is printed."""
    right = np.concatenate([np.arange(size + 1) for size in sizes])
    total = np.repeat(sizes, [size + 1 for size in sizes])
    fits = np.ones(len(right), dtype=bool) if rate is None else rate.fits(right / total)
    return right[fits], (total - right)[fits]

"""A printed table of rates: its confusion matrices, intervals and AUC, recomputed."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from dtc_jax.audit import confusion_search, p_values, printed
from dtc_jax.audit.printed import Printed
from dtc_jax.errors import InputError
from dtc_jax.statistics import decision_curve, rates
from dtc_jax.statistics.estimate import Z_95

_LISTED = 20  # matrices


def table(claim: Mapping[str, Any]) -> dict[str, Any]:
    """The confusion matrices behind the rates, the rates that do not fit, and the intervals.

    Args:
      claim: an entry of `tables`, see `claims`.

    Raises:
      InputError: a field is wrong or missing, or too many matrices could fit; names the claim.
    """
    at_most = printed.whole_number(claim, "at_most") if "at_most" in claim else None
    sizes = [
        printed.whole_number(claim, name) if name in claim else None
        for name in ("positives", "negatives")
    ]
    if at_most is None and None in sizes:
        raise InputError(f"{claim['name']}: give `positives` and `negatives`, or `at_most`.")
    if at_most is not None and at_most < 2:
        raise InputError(
            f"{claim['name']}.at_most: {at_most} must be at least 2, one of each label."
        )
    ranges = [range(1, at_most or 0) if size is None else range(size, size + 1) for size in sizes]
    figures = {
        name: printed.figure(claim, name) for name in confusion_search.RATES if name in claim
    }
    limit = at_most if at_most is not None else sum(filter(None, sizes))
    try:
        matrices, left_out = confusion_search.search(figures, ranges[0], ranges[1], limit)
    except InputError as error:
        raise InputError(f"{claim['name']}: {error}") from error
    result: dict[str, Any] = {
        "name": claim["name"],
        "matrices": [vars(matrix) for matrix in matrices[:_LISTED]],
        "matrices_found": len(matrices),
        "misfits": [],
        "findings": [],
    }
    for name in left_out if matrices else ():
        implied = sorted({round(float(_value(matrix, name)), 4) for matrix in matrices})
        result["misfits"].append(
            {"figure": name, "printed": figures[name].text, "implied": implied}
        )
        text = f"{name} {figures[name].text} does not fit the other figures"
        if len(implied) == 1:
            text += f", which give {implied[0]:.{_digits(figures[name])}f}"
        result["findings"].append(text + ".")
    if len(matrices) == 1:
        result |= _recomputed(matrices[0], claim, result["findings"])
    if figures and not matrices:
        result["findings"].append("no confusion matrix fits any of its figures.")
    if "auc" in claim:
        positives, negatives = sizes
        if matrices:  # the smallest of several
            positives, negatives = matrices[0].tp + matrices[0].fn, matrices[0].tn + matrices[0].fp
        if positives is not None and negatives is not None:
            result["auc"] = _auc(claim, positives, negatives, result["findings"])
    return result


def _recomputed(
    matrix: confusion_search.Confusion, claim: Mapping[str, Any], findings: list[str]
) -> dict[str, Any]:
    """Rates with Wilson's intervals, net benefit and the share of the more frequent label."""
    labels = np.repeat([1, 1, 0, 0], [matrix.tp, matrix.fn, matrix.tn, matrix.fp])
    decisions = np.repeat([1, 0, 0, 1], [matrix.tp, matrix.fn, matrix.tn, matrix.fp])
    estimates = {name: e.as_dict() for name, e in rates.rates(labels, decisions).items()}
    benefits = decision_curve.net_benefit(labels, decisions.astype(float), np.array([0.5]))
    for name, estimate in estimates.items():
        ends = printed.interval(claim, name)
        if ends and name != "f1":
            fits = _interval_fits(ends, round(estimate["value"] * estimate["n"]), estimate["n"])
            estimate["printed_interval"] = fits or "none of the usual ones"
            if not fits:
                findings.append(
                    f"the interval of {name} is not Wilson's, Clopper and Pearson's or Wald's; "
                    f"Wilson's is {estimate['low']:.4f} to {estimate['high']:.4f}."
                )
    return {
        "rates": estimates,
        "net_benefit_at_half": {name: float(benefits[name][0]) for name in ("model", "all")},
        "majority_accuracy": float(max(labels.mean(), 1 - labels.mean())),
    }


def _interval_fits(ends: list[Printed], hits: int, n: int) -> str:
    """The names of the usual intervals of `hits` among `n` that round to the printed ends."""
    exact = stats.binomtest(hits, n).proportion_ci(method="exact")
    half = Z_95 * math.sqrt(hits / n * (1 - hits / n) / n)
    intervals = {
        "wilson": rates.wilson(hits / n, n),
        "clopper-pearson": (exact.low, exact.high),
        "wald": (hits / n - half, hits / n + half),
    }
    fitting = (
        name
        for name, values in intervals.items()
        if all(end.fits(value) for end, value in zip(ends, values, strict=True))
    )
    return ", ".join(fitting)


def _auc(
    claim: Mapping[str, Any], positives: int, negatives: int, findings: list[str]
) -> dict[str, Any]:
    """The printed AUC and the intervals that the numbers of lesions and patients would give."""
    area = printed.figure(claim, "auc")
    if not 0 < area.value < 1 or not positives or not negatives:
        raise InputError(
            f"{claim['name']}.auc: {area.text} must be between 0 and 1, "
            "with lesions of both labels."
        )
    error = p_values.hanley_mcneil(area.value, positives, negatives)
    result: dict[str, Any] = {
        "value": area.value,
        "positives": positives,
        "negatives": negatives,
        "hanley_mcneil_se": error,
        "hanley_mcneil_interval": _logit_interval(area.value, error),
    }
    interval = printed.interval(claim, "auc")
    if interval:
        ends = [end.value for end in interval]
        if ends[0] >= ends[1]:
            raise InputError(f"{claim['name']}.auc: `low` must be below `high`.")
        result["printed_interval"] = ends
        result["printed_se"] = (ends[1] - ends[0]) / (2 * Z_95)
        if not ends[0] <= area.value <= ends[1]:
            findings.append(f"the AUC {area.text} lies outside its own interval.")
    if "patients" in claim:
        patients = max(1, printed.whole_number(claim, "patients"))
        result["lesions_a_patient"] = per_patient = (positives + negatives) / patients
        result["by_icc"] = [
            {
                "icc": icc,
                "design_effect": effect,
                "interval": _logit_interval(area.value, error * math.sqrt(effect)),
            }
            for icc in (0.3, 0.5, 0.7)
            for effect in (1 + (per_patient - 1) * icc,)
        ]
    return result


def _logit_interval(area: float, error: float) -> list[float]:
    half = Z_95 * error / (area * (1 - area))
    return [float(1 / (1 + math.exp(-(math.log(area / (1 - area)) + s * half)))) for s in (-1, 1)]


def _value(matrix: confusion_search.Confusion, name: str) -> float:
    cells = (np.array(float(x)) for x in (matrix.tp, matrix.fn, matrix.tn, matrix.fp))
    return float(confusion_search.values(*cells)[name])


def _digits(figure: Printed) -> int:
    return max(0, round(-math.log10(2 * figure.half)))

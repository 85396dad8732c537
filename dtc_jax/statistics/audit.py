"""Do the figures a paper prints agree with each other? They are recomputed from each other.

Claims are a mapping, all numbers as text, since ".800" says more than 0.8:

    title
    sums:         [{name, total, parts: [...]}]
    tables:       [{name, positives, negatives | at_most, patients, accuracy, sensitivity,
                  specificity, ppv, npv, f1, auc}]: a figure is text or {value, low, high}, its 95 %
                  interval; `at_most`: lesions, where their number is not printed
    means:        [{name, groups: [{mean, sd, n}, {mean, sd, n}], p}]
    counts:       [{name, rows: [[...], [...]], p}]
    comparisons:  [{name, first, second, p}]: AUCs of two `tables` of different patients, by name
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from dtc_jax.errors import InputError, unknown_choice
from dtc_jax.statistics import confusion_search, decision_curve, published, published_tests, rates
from dtc_jax.statistics.estimate import Z_95
from dtc_jax.statistics.published import Printed

_LISTED = 20  # matrices
_REQUIRED = {
    "sums": ("name", "total", "parts"),
    "tables": ("name",),
    "means": ("name", "groups"),
    "counts": ("name", "rows"),
    "comparisons": ("name", "first", "second"),
}
_OPTIONAL = {
    "sums": (),
    "tables": ("positives", "negatives", "at_most", "patients", "auc", *confusion_search.RATES),
    "means": ("p",),
    "counts": ("p",),
    "comparisons": ("p",),
}


def audit(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Recomputes what the claims allow.

    Args:
      claims: see the module's docstring.

    Returns:
      Plain values: title, findings (sentences: what does not follow), and for each list of the
      claims what was recomputed.

    Raises:
      InputError: names the claim that is not what it must be.
    """
    _check(claims)
    tables = {str(one["name"]): _table(one) for one in claims.get("tables", [])}
    result: dict[str, Any] = {
        "title": str(claims.get("title", "")),
        "sums": [_sum(one) for one in claims.get("sums", [])],
        "tables": list(tables.values()),
        "means": [published_tests.of_means(one) for one in claims.get("means", [])],
        "counts": [published_tests.of_counts(one) for one in claims.get("counts", [])],
        "comparisons": [
            published_tests.of_aucs(one, tables) for one in claims.get("comparisons", [])
        ],
    }
    findings = [
        f"{one['name']}: {text}"
        for kind in _REQUIRED
        for one in result[kind]
        for text in one.pop("findings")
    ]
    return {"title": result.pop("title"), "findings": findings, **result}


def _check(claims: Mapping[str, Any]) -> None:
    if not isinstance(claims, Mapping):
        raise InputError(f"the claims must be a mapping with lists {', '.join(_REQUIRED)}.")
    for kind, listed in claims.items():
        if kind == "title":
            continue
        if kind not in _REQUIRED:
            raise unknown_choice("a claim's kind", kind, ["title", *_REQUIRED])
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise InputError(f"{kind} must be a list of mappings.")
        for i, one in enumerate(listed):
            missing = [field for field in _REQUIRED[kind] if field not in one]
            if missing:
                raise InputError(f"{kind}[{i}] needs {', '.join(missing)}.")
            known = [*_REQUIRED[kind], *_OPTIONAL[kind]]
            for field in one:
                if field not in known:
                    raise unknown_choice(f"{one['name']}: a field", field, known)


def _sum(one: Mapping[str, Any]) -> dict[str, Any]:
    total = published.whole(one, "total")
    parts = [published.whole({"part": part, "name": one["name"]}, "part") for part in one["parts"]]
    findings = [] if sum(parts) == total else [f"the parts sum to {sum(parts)}, not {total}."]
    return {"name": one["name"], "total": total, "parts": parts, "findings": findings}


def _table(one: Mapping[str, Any]) -> dict[str, Any]:
    """The confusion matrices behind the rates, what misfits, and the intervals recomputed."""
    at_most = published.whole(one, "at_most") if "at_most" in one else None
    sizes = [
        published.whole(one, name) if name in one else None for name in ("positives", "negatives")
    ]
    if at_most is None and None in sizes:
        raise InputError(f"{one['name']}: give `positives` and `negatives`, or `at_most`.")
    tried = [range(1, at_most or 0) if size is None else range(size, size + 1) for size in sizes]
    printed = {name: published.figure(one, name) for name in confusion_search.RATES if name in one}
    most = at_most if at_most is not None else sum(filter(None, sizes))
    found, left_out = confusion_search.search(printed, tried[0], tried[1], most)
    result: dict[str, Any] = {
        "name": one["name"],
        "matrices": [vars(matrix) for matrix in found[:_LISTED]],
        "matrices_found": len(found),
        "misfits": [],
        "findings": [],
    }
    for name in left_out if found else ():
        implied = sorted({round(float(_value(matrix, name)), 4) for matrix in found})
        result["misfits"].append(
            {"figure": name, "printed": printed[name].text, "implied": implied}
        )
        text = f"{name} {printed[name].text} does not fit the other figures"
        if len(implied) == 1:
            text += f", which give {implied[0]:.{_digits(printed[name])}f}"
        result["findings"].append(text + ".")
    if len(found) == 1:
        result |= _recomputed(found[0], one, result["findings"])
    if printed and not found:
        result["findings"].append("no confusion matrix fits any of its figures.")
    if "auc" in one:
        positives, negatives = sizes
        if found:  # of many, the smallest
            positives, negatives = found[0].tp + found[0].fn, found[0].tn + found[0].fp
        if positives is not None and negatives is not None:
            result["auc"] = _auc(one, positives, negatives, result["findings"])
    return result


def _recomputed(
    matrix: confusion_search.Confusion, one: Mapping[str, Any], findings: list[str]
) -> dict[str, Any]:
    """Rates with Wilson's intervals, net benefit and the share of the more frequent label."""
    labels = np.repeat([1, 1, 0, 0], [matrix.tp, matrix.fn, matrix.tn, matrix.fp])
    decisions = np.repeat([1, 0, 0, 1], [matrix.tp, matrix.fn, matrix.tn, matrix.fp])
    estimates = {name: e.as_dict() for name, e in rates.rates(labels, decisions).items()}
    benefits = decision_curve.net_benefit(labels, decisions.astype(float), np.array([0.5]))
    for name, estimate in estimates.items():
        ends = published.interval(one, name)
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
    """The usual intervals of `hits` among `n` that round to the printed ends."""
    exact = stats.binomtest(hits, n).proportion_ci(method="exact")
    half = Z_95 * math.sqrt(hits / n * (1 - hits / n) / n)
    ways = {
        "wilson": rates.wilson(hits / n, n),
        "clopper-pearson": (exact.low, exact.high),
        "wald": (hits / n - half, hits / n + half),
    }
    fitting = (
        way
        for way, values in ways.items()
        if all(end.fits(value) for end, value in zip(ends, values, strict=True))
    )
    return ", ".join(fitting)


def _auc(
    one: Mapping[str, Any], positives: int, negatives: int, findings: list[str]
) -> dict[str, Any]:
    """The printed AUC beside the interval that its size alone would give."""
    printed = published.figure(one, "auc")
    if not 0 < printed.value < 1 or not positives or not negatives:
        raise InputError(f"{one['name']}.auc: {printed.text} must lie between 0 and 1, of lesions.")
    error = published_tests.hanley_mcneil(printed.value, positives, negatives)
    result: dict[str, Any] = {
        "value": printed.value,
        "positives": positives,
        "negatives": negatives,
        "hanley_mcneil_se": error,
        "hanley_mcneil_interval": _logit_interval(printed.value, error),
    }
    interval = published.interval(one, "auc")
    if interval:
        ends = [end.value for end in interval]
        result["printed_interval"] = ends
        result["printed_se"] = (ends[1] - ends[0]) / (2 * Z_95)
        if not ends[0] <= printed.value <= ends[1]:
            findings.append(f"the AUC {printed.text} lies outside its own interval.")
    if "patients" in one:
        patients = max(1, published.whole(one, "patients"))
        result["lesions_a_patient"] = each = (positives + negatives) / patients
        result["by_icc"] = [
            {
                "icc": icc,
                "design_effect": effect,
                "interval": _logit_interval(printed.value, error * math.sqrt(effect)),
            }
            for icc in (0.3, 0.5, 0.7)
            for effect in (1 + (each - 1) * icc,)
        ]
    return result


def _logit_interval(area: float, error: float) -> list[float]:
    half = Z_95 * error / (area * (1 - area))
    return [float(1 / (1 + math.exp(-(math.log(area / (1 - area)) + s * half)))) for s in (-1, 1)]


def _value(matrix: confusion_search.Confusion, name: str) -> float:
    cells = (np.array(float(x)) for x in (matrix.tp, matrix.fn, matrix.tn, matrix.fp))
    return float(confusion_search.values(*cells)[name])


def _digits(printed: Printed) -> int:
    return max(0, round(-math.log10(2 * printed.half)))

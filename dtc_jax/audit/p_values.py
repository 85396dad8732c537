"""P values of a paper, recomputed from its printed means, counts and AUCs."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from dtc_jax.audit import printed
from dtc_jax.audit.printed import Printed
from dtc_jax.errors import InputError, unknown_choice


def hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC from its size alone (Hanley and McNeil, Radiology 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2)
    variance += (negatives - 1) * (q2 - area**2)
    return math.sqrt(variance / (positives * negatives))


def of_means(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Student's and Welch's P of the printed means and SDs, and its range over their rounding.

    Args:
      claim: {name, groups: [{mean, sd, n}, {mean, sd, n}], p}.
    """
    groups = claim["groups"]
    if len(groups) != 2 or not all(isinstance(group, Mapping) for group in groups):
        raise InputError(f"{claim['name']}: `groups` must be a list of two, each {{mean, sd, n}}.")
    sizes, centers, corners = [], [], []
    for i, group in enumerate(groups):
        named = {"name": f"{claim['name']}, groups[{i}]", **group}
        sizes.append(printed.whole_number(named, "n"))
        if sizes[-1] < 2:
            raise InputError(f"{named['name']}.n: {sizes[-1]} must be at least 2.")
        for field in ("mean", "sd"):
            figure = Printed.parse(group.get(field, ""), f"{named['name']}.{field}")
            low = figure.value - figure.half
            centers.append(figure.value)
            if field == "sd" and figure.value <= 0:
                raise InputError(f"{named['name']}.sd: {figure.text!r} must be above 0.")
            corners.append((max(0, low) if field == "sd" else low, figure.value + figure.half))
    # Means that may be equal may have any P up to 1.
    overlap = corners[0][0] <= corners[2][1] and corners[2][0] <= corners[0][1]
    tests = {}
    for test, equal in (("Student's t", True), ("Welch's t", False)):
        at_printed, *p = [
            float(stats.ttest_ind_from_stats(m1, s1, sizes[0], m2, s2, sizes[1], equal).pvalue)
            for m1, s1, m2, s2 in (centers, *itertools.product(*corners))
        ]
        tests[test] = {"p": at_printed, "low": min(p), "high": 1.0 if overlap else max(p)}
    return {"name": claim["name"], "tests": tests, "findings": _findings(claim, tests)}


def of_counts(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Chi-square's P of a table of counts and, of two by two, Yates's and Fisher's.

    Args:
      claim: {name, rows: [[...], [...]], p}.
    """
    if not all(isinstance(row, list) for row in claim["rows"]):
        raise InputError(f"{claim['name']}: `rows` must be a list of lists.")
    rows = [
        [printed.whole_number({"cell": cell, "name": claim["name"]}, "cell") for cell in row]
        for row in claim["rows"]
    ]
    table = np.array(rows) if len({len(row) for row in rows}) == 1 else np.zeros((0, 0))
    if min(table.shape) < 2 or not table.sum(0).all() or not table.sum(1).all():
        raise InputError(
            f"{claim['name']}: `rows` must be two or more lists of equal length, and every "
            "row and column must have a sum above 0."
        )
    p = {"chi-square": stats.chi2_contingency(table, correction=False).pvalue}
    if table.shape == (2, 2):
        p["chi-square with Yates's correction"] = stats.chi2_contingency(table).pvalue
        p["Fisher's exact test"] = stats.fisher_exact(table).pvalue
    return _exactly(claim, p)


def of_aucs(claim: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """z test of two AUCs of different patients, with standard errors from the printed intervals.

    Where no interval is printed, the standard error is Hanley and McNeil's.

    Args:
      claim: {name, first, second, p}; first and second name tables.
      tables: the recomputed `tables`, by name.
    """
    sides = []
    for side in ("first", "second"):
        if claim.get(side) not in tables or "auc" not in tables[claim[side]]:
            with_auc = [name for name, table in tables.items() if "auc" in table]
            raise unknown_choice(f"{claim['name']}, {side}", claim.get(side), with_auc)
        sides.append(tables[claim[side]]["auc"])
    errors = [side.get("printed_se", side["hanley_mcneil_se"]) for side in sides]
    z = (sides[0]["value"] - sides[1]["value"]) / math.hypot(*errors)
    return {"z": z, **_exactly(claim, {"the z test": 2 * stats.norm.sf(abs(z))})}


def _exactly(claim: Mapping[str, Any], p: Mapping[str, float]) -> dict[str, Any]:
    """A result whose P values are free of rounding."""
    tests = {test: dict.fromkeys(("p", "low", "high"), float(value)) for test, value in p.items()}
    return {"name": claim["name"], "tests": tests, "findings": _findings(claim, tests)}


def _findings(claim: Mapping[str, Any], tests: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence if no test gives the printed P."""
    if "p" not in claim:
        return []
    p_value = Printed.parse(claim["p"], f"{claim['name']}.p")
    if any(p_value.fits_range(test["low"], test["high"]) for test in tests.values()):
        return []
    texts = [
        f"{name} gives {test['p']:.3f}"
        + (
            f" (rounding: {test['low']:.3f} to {test['high']:.3f})"
            if test["low"] < test["p"]
            else ""
        )
        for name, test in tests.items()
    ]
    return [f"P {p_value.text} does not agree: {', '.join(texts)}."]

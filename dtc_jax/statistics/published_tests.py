"""P values of a paper, recomputed from the means, counts and AUCs that it prints beside them."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from dtc_jax.errors import InputError, unknown_choice
from dtc_jax.statistics import published
from dtc_jax.statistics.published import Printed


def hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC from its size alone (Hanley and McNeil, Radiology 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2)
    variance += (negatives - 1) * (q2 - area**2)
    return math.sqrt(variance / (positives * negatives))


def of_means(one: Mapping[str, Any]) -> dict[str, Any]:
    """Student's and Welch's P of the printed means and SDs, and over all that rounding can hide.

    Args:
      one: a claim {name, groups: [{mean, sd, n}, {mean, sd, n}], p}.
    """
    groups = one["groups"]
    if not isinstance(groups, list) or len(groups) != 2:
        raise InputError(f"{one['name']}: `groups` must be two, each {{mean, sd, n}}.")
    sizes, centers, corners = [], [], []
    for i, group in enumerate(groups):
        named = {"name": f"{one['name']}, groups[{i}]", **group}
        sizes.append(published.whole(named, "n"))
        for field in ("mean", "sd"):
            figure = Printed.parse(group.get(field, ""), f"{named['name']}.{field}")
            low = figure.value - figure.half
            centers.append(figure.value)
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
    return {"name": one["name"], "tests": tests, "findings": _findings(one, tests)}


def of_counts(one: Mapping[str, Any]) -> dict[str, Any]:
    """Chi-square's P of a table of counts and, of two by two, Yates's and Fisher's.

    Args:
      one: a claim {name, rows: [[...], [...]], p}.
    """
    rows = [
        [published.whole({"cell": cell, "name": one["name"]}, "cell") for cell in row]
        for row in one["rows"]
    ]
    table = np.array(rows) if len({len(row) for row in rows}) == 1 else np.zeros((0, 0))
    if min(table.shape) < 2 or not table.sum(0).all() or not table.sum(1).all():
        raise InputError(
            f"{one['name']}: `rows` must be two or more lists of equally many counts, with "
            "something counted in each row and column."
        )
    p = {"chi-square": stats.chi2_contingency(table, correction=False).pvalue}
    if table.shape == (2, 2):
        p["chi-square with Yates's correction"] = stats.chi2_contingency(table).pvalue
        p["Fisher's exact test"] = stats.fisher_exact(table).pvalue
    return _exactly(one, p)


def of_aucs(one: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """z of two AUCs of different patients, with the errors of their printed intervals.

    Where no interval is printed, the error is Hanley and McNeil's.

    Args:
      one: a claim {name, first, second, p}; first and second name tables.
      tables: what `audit` has recomputed of each.
    """
    sides = []
    for side in ("first", "second"):
        if one.get(side) not in tables or "auc" not in tables[one[side]]:
            named = [name for name, table in tables.items() if "auc" in table]
            raise unknown_choice(f"{one['name']}, {side}", one.get(side), named)
        sides.append(tables[one[side]]["auc"])
    errors = [side.get("printed_se", side["hanley_mcneil_se"]) for side in sides]
    z = (sides[0]["value"] - sides[1]["value"]) / math.hypot(*errors)
    return {"z": z, **_exactly(one, {"the z test": 2 * stats.norm.sf(abs(z))})}


def _exactly(one: Mapping[str, Any], p: Mapping[str, float]) -> dict[str, Any]:
    """A result whose P values come from figures that are not rounded."""
    tests = {test: dict.fromkeys(("p", "low", "high"), float(value)) for test, value in p.items()}
    return {"name": one["name"], "tests": tests, "findings": _findings(one, tests)}


def _findings(one: Mapping[str, Any], tests: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence where no test gives the printed P."""
    if "p" not in one:
        return []
    printed = Printed.parse(one["p"], f"{one['name']}.p")
    if any(printed.fits_range(test["low"], test["high"]) for test in tests.values()):
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
    return [f"P {printed.text} does not follow: {', '.join(texts)}."]

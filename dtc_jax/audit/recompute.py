"""Do the figures that a paper prints agree with each other?"""

from collections.abc import Mapping
from typing import Any

from dtc_jax.audit import claims as claims_lib
from dtc_jax.audit import p_values, printed, rate_tables


def recompute(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Recomputes all figures that the claims determine.

    Args:
      claims: see `claims`.

    Returns:
      JSON values: title, findings (sentences on what does not agree), and for each list of the
      claims the recomputed figures.

    Raises:
      InputError: names the claim that has a wrong or missing field.
    """
    claims_lib.check(claims)
    tables = {str(claim["name"]): rate_tables.table(claim) for claim in claims.get("tables", [])}
    result: dict[str, Any] = {
        "title": str(claims.get("title", "")),
        "sums": [_sum(claim) for claim in claims.get("sums", [])],
        "tables": list(tables.values()),
        "means": [p_values.of_means(claim) for claim in claims.get("means", [])],
        "counts": [p_values.of_counts(claim) for claim in claims.get("counts", [])],
        "comparisons": [p_values.of_aucs(claim, tables) for claim in claims.get("comparisons", [])],
    }
    findings = [
        f"{entry['name']}: {text}"
        for kind in claims_lib.REQUIRED
        for entry in result[kind]
        for text in entry.pop("findings")
    ]
    return {"title": result.pop("title"), "findings": findings, **result}


def _sum(claim: Mapping[str, Any]) -> dict[str, Any]:
    total = printed.whole(claim, "total")
    parts = [
        printed.whole({"part": part, "name": claim["name"]}, "part") for part in claim["parts"]
    ]
    findings = [] if sum(parts) == total else [f"the parts sum to {sum(parts)}, not {total}."]
    return {"name": claim["name"], "total": total, "parts": parts, "findings": findings}

"""The result of an audit as lines of text."""

from typing import Any

from dtc_jax.statistics import formatting


def text(result: dict[str, Any]) -> str:
    """All recomputed figures, and the findings below them.

    Args:
      result: of `claims.recompute`.
    """
    lines = [result["title"]] if result["title"] else []
    for entry in result["sums"]:
        parts = " + ".join(map(str, entry["parts"]))
        lines.append(f"{entry['name']}: {parts}, printed {entry['total']}")
    for table in result["tables"]:
        lines += [f"{table['name']}:", *(f"  {line}" for line in _table_lines(table))]
    for entry in (*result["means"], *result["counts"], *result["comparisons"]):
        tests = [f"{name} P {test['p']:.4f}" for name, test in entry["tests"].items()]
        lines.append(f"{entry['name']}: {'; '.join(tests)}")
    findings = [f"  {finding}" for finding in result["findings"]]
    if not findings:
        return "\n".join([*lines, "No printed figure contradicts another."])
    return "\n".join([*lines, "Contradictions:", *findings])


def _table_lines(table: dict[str, Any]) -> list[str]:
    count, smallest = table["matrices_found"], next(iter(table["matrices"]), None)
    lines = []
    if smallest:
        matrix = "TP {tp}, FN {fn}, TN {tn}, FP {fp}".format(**smallest)
        n = sum(smallest.values())
        which = "the only one that fits" if count == 1 else f"the smallest of {count} that fit"
        left_out = ", ".join(misfit["figure"] for misfit in table["misfits"])
        except_for = f" all figures except {left_out}" if left_out else ""
        lines.append(f"confusion matrix: {matrix} (n = {n}), {which}{except_for}")
    for name, rate in table.get("rates", {}).items():
        lines.append(f"{name} {formatting.estimate(rate, 4)}, n = {rate['n']}")
    if "rates" in table:
        benefit = table["net_benefit_at_half"]
        lines.append(
            f"accuracy of always predicting the more frequent label "
            f"{table['majority_accuracy']:.4f}"
        )
        lines.append(
            f"net benefit at .5: model {benefit['model']:.4f}, withholding I-131 from all "
            f"{benefit['all']:.4f}"
        )
    if "auc" in table:
        lines += _auc_lines(table["auc"])
    return lines


def _auc_lines(auc: dict[str, Any]) -> list[str]:
    low, high = auc["hanley_mcneil_interval"]
    lines = [
        f"AUC {auc['value']}: standard error {auc['hanley_mcneil_se']:.5f} (Hanley and McNeil), "
        f"interval {low:.3f} to {high:.3f}"
    ]
    for scenario in auc.get("by_icc", ()):
        low, high = scenario["interval"]
        lines.append(
            f"  at an intra-patient correlation of {scenario['icc']} "
            f"(design effect {scenario['design_effect']:.2f}): {low:.3f} to {high:.3f}"
        )
    return lines

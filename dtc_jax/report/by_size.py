"""Performance by the study's seven groups of diameter: its Table 2, 4 mm row, and its Fig 3C."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtc_jax.report import page, roc_plots
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics.formatting import estimate
from dtc_jax.statistics.subgroups import DIAMETERS, MIN_LESIONS

RATES = {
    "accuracy": "ACC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
}
_TOO_FEW = "too few"


def figures(run: ReportRun, cohort: str, section: Mapping[str, Any]) -> list[page.Figure]:
    """AUC and accuracy by diameter, and the ROC curves of all groups in one panel."""
    group = _diameters(section)
    if group is None:
        return []
    note = f"{group['note'].rstrip('.')}."
    drawn = roc_plots.by_diameter(group["levels"])
    caption = f"Performance by diameter, {cohort} cohort, test; {note}"
    made = [run.output.figure(f"{cohort}-diameter", drawn, caption)]
    if any(level["roc"] for level in group["levels"]):
        drawn = roc_plots.by_size(group["levels"])
        caption = (
            f"ROC curves by diameter, {cohort} cohort, test; {note} Dots: operating points of the "
            "decisions. In brackets: 95 % intervals of the AUC, clustered by patient; + refractory,"
            f" \N{MINUS SIGN} avid. No curve for a group with fewer than {MIN_LESIONS} of either."
        )
        made.append(run.output.figure(f"{cohort}-roc-by-diameter", drawn, caption, wide=True))
    return made


def table(run: ReportRun) -> page.Table | None:
    """Rates of each group with their n; None where no diameter is known."""
    rows = []
    for cohort, section in run.tested():
        group = _diameters(section)
        levels = {level["level"]: level for level in group["levels"]} if group else {}
        rows += [_row(cohort, name, levels.get(name)) for name in DIAMETERS if levels]
    if not rows:
        return None
    return run.output.table(
        "performance-by-diameter",
        pd.DataFrame(rows),
        "Performance by largest axial diameter, test. Each rate has its own n, the lesions that it "
        "is a share of, and a 95 % interval clustered by patient. Too few: fewer than "
        f"{MIN_LESIONS} lesions, or for AUC and ACC of either label. Lesions: refractory + avid.",
    )


def _diameters(section: Mapping[str, Any]) -> Mapping[str, Any] | None:
    groups = [group for group in section["subgroups"] if group["factor"] == "diameter"]
    return groups[0] if groups else None


def _row(cohort: str, name: str, level: Mapping[str, Any] | None) -> dict[str, str]:
    counts = ("tp", "fn", "tn", "fp")
    if level is None:
        level = {"positives": 0, "negatives": 0, "patients": 0, "auc": None, "rates": {}}
        level |= {"confusion": dict.fromkeys(counts, 0)}
    return {
        "diameter": name,
        "cohort": cohort,
        "lesions": f"{level['positives']} + {level['negatives']}",
        "patients": str(level["patients"]),
        "AUC": estimate(level["auc"]) if level["auc"] else _TOO_FEW,
        **{short: _rate(level["rates"].get(key)) for key, short in RATES.items()},
        **{key.upper(): str(level["confusion"][key]) for key in counts},
    }


def _rate(value: Mapping[str, Any] | None) -> str:
    return f"{estimate(value)}, n {value['n']}" if value else _TOO_FEW

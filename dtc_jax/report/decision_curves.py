"""Chapters on clinical use: decision curves, calibration, patients, abstention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.report import decision_plots, page
from dtc_jax.report.by_size import RATES
from dtc_jax.report.performance import counts
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics import decision_curve
from dtc_jax.statistics.formatting import count, estimate, number

_RULES = {
    "any": "any lesion refractory",
    "all": "all lesions refractory",
    "mean": "mean score",
    "volume": "mean score weighted by volume",
}
_THRESHOLDS = (0.2, 0.35, 0.5, 0.65, 0.8)  # of the table of net benefits


def lesions(run: ReportRun) -> page.Section:
    """Decision curves of withholding I-131, lesion by lesion."""
    figures, rows = [], []
    for cohort, section in run.tested():
        curve = section["decision_curve"]
        if curve is None:
            continue
        caption = (
            f"Decision curve, {cohort} cohort, test: {counts(section)}. Band: 95 %, bootstrap of "
            "patients. Net benefit: share of refractory lesions correctly spared I-131, minus the "
            "share of avid lesions wrongly denied it, weighted by the odds of the threshold "
            "probability."
        )
        drawn = decision_plots.decision_curve(
            curve, _best_baseline(run, cohort, curve["threshold"])
        )
        figures.append(run.output.figure(f"{cohort}-decision-curve", drawn, caption))
        rows += _net_benefits(cohort, curve)
    tables = []
    if rows:
        caption = (
            "Net benefit at selected threshold probabilities. Gain: over the better of withholding "
            "from all and from none."
        )
        tables = [run.output.table("net-benefit", pd.DataFrame(rows), caption)]
    return page.Section("Decision curves", figures=figures, tables=tables)


def _best_baseline(
    run: ReportRun, cohort: str, thresholds: Sequence[float]
) -> dict[str, np.ndarray]:
    """Net benefit of the best baseline that scores all lesions of the network's curve, if any.

    On other lesions the prevalence is another one, and with it every net benefit.
    """
    for name in run.baselines(cohort):
        rows = run.beside_baseline(name, cohort)
        if rows.baseline.notna().all():
            curves = decision_curve.net_benefit(
                rows.label.to_numpy(int), rows.baseline.to_numpy(float), np.asarray(thresholds)
            )
            return {f"withheld by the baseline {name}": curves["model"]}
    return {}


def _net_benefits(cohort: str, curve: Mapping[str, Any]) -> list[dict[str, str]]:
    thresholds = np.asarray(curve["threshold"])
    rows = []
    for threshold in _THRESHOLDS:
        i = int(np.argmin(np.abs(thresholds - threshold)))
        row = {"cohort": cohort, "threshold": f"{thresholds[i]:.2f}"}
        for key, name in (("model", "network"), ("all", "from all"), ("gain", "gain")):
            row[name] = estimate({end: curve[key][end][i] for end in curve[key]})
        rows.append(row)
    return rows


def calibration(run: ReportRun) -> page.Section:
    """Reliability curves, recalibration, and predictive values at other prevalences."""
    figures, rows = [], []
    for cohort, section in run.tested():
        figures_of = section["calibration"]
        if figures_of is None:
            continue
        caption = (
            f"Calibration, {cohort} cohort, test: {counts(section)}; bins of about equally many "
            f"lesions. Slope {estimate(figures_of['slope'], 2)}, intercept "
            f"{estimate(figures_of['intercept'], 2)}, Brier score "
            f"{number(figures_of['brier']['value'])} (always predicting the prevalence: "
            f"{number(figures_of['brier_prevalence'])})."
        )
        drawn = decision_plots.calibration(section)
        figures.append(run.output.figure(f"{cohort}-calibration", drawn, caption))
        if figures_of["prevalence"] is not None:
            caption = (
                f"Predictive values at other prevalences, {cohort} cohort, test, at the "
                "sensitivity and specificity of the decisions."
            )
            drawn = decision_plots.prevalence(section)
            figures.append(run.output.figure(f"{cohort}-prevalence", drawn, caption))
        rows.append({"cohort": cohort, "scores": "as predicted", **_calibration_row(figures_of)})
        for name, after in (figures_of["recalibrated"] or {}).items():
            rows.append({"cohort": cohort, "scores": f"after {name}", **_calibration_row(after)})
    tables = []
    if rows:
        caption = (
            "Calibration of test lesions. Recalibration is fitted on validation lesions only; "
            "everything else in this report uses the scores as predicted. ECE: expected "
            "calibration error."
        )
        tables = [run.output.table("calibration", pd.DataFrame(rows), caption)]
    return page.Section("Calibration", figures=figures, tables=tables)


def _calibration_row(figures: Mapping[str, Any]) -> dict[str, str]:
    names = {"slope": "slope", "intercept": "intercept", "brier": "Brier", "ece": "ECE"}
    return {
        name: estimate(figures[key]) if isinstance(figures[key], Mapping) else number(figures[key])
        for key, name in names.items()
    }


def patients(run: ReportRun) -> page.Section:
    """Decisions on patients, since I-131 is given to patients."""
    figures, rows, text = [], [], []
    for cohort, section in run.tested():
        level = section["patient_level"]
        if level is None:
            continue
        text.append(
            f"{cohort.capitalize()} cohort: {count(level['patients'], 'patient')}, "
            f"{level['positives']} refractory and {level['negatives']} avid. Patients with lesions "
            f"of both labels: {level['mixed']}; they count as refractory if {level['truth']} of "
            "their lesions are."
        )
        for rule, figures_of in level["rules"].items():
            rates = figures_of["rates"]
            rows.append(
                {
                    "cohort": cohort,
                    "rule": _RULES[rule],
                    "AUC": estimate(figures_of["auc"]),
                    **{short: estimate(rates[key]) for key, short in RATES.items()},
                    **{key.upper(): str(n) for key, n in figures_of["confusion"].items()},
                }
            )
        mean = level["rules"].get("mean")
        if mean and mean["decision_curve"]:
            caption = (
                f"Decision curve of patients, {cohort} cohort, test, by the mean score of their "
                f"lesions; {count(level['patients'], 'patient')}."
            )
            drawn = decision_plots.decision_curve(mean["decision_curve"])
            figures.append(run.output.figure(f"{cohort}-patients", drawn, caption))
    tables = []
    if rows:
        caption = "Performance by patient, for each rule that combines the scores of the lesions."
        tables = [run.output.table("patients", pd.DataFrame(rows), caption)]
    return page.Section("Patients", text, figures, tables)


def abstention(run: ReportRun) -> page.Section:
    """The errors that remain if the uncertain lesions are left undecided."""
    figures, rows = [], []
    for cohort, section in run.tested():
        figures_of = section["abstention"]
        if figures_of is None:
            continue
        caption = (
            f"Wrong decisions if only the most certain lesions are decided, {cohort} cohort, "
            f"test. Area under the curve {number(figures_of['aurc'])} (lower is better)."
        )
        drawn = decision_plots.risk_coverage(section)
        figures.append(run.output.figure(f"{cohort}-abstention", drawn, caption))
        rows += [
            {
                "cohort": cohort,
                "nominal error": f"{alpha['alpha']:g}",
                "decided": estimate(alpha["decided"]),
                "avid, refractory, both, neither": ", ".join(
                    str(alpha["counts"][key]) for key in ("avid", "refractory", "both", "neither")
                ),
                "error of the decided": estimate(alpha["error_of_decided"]),
                "refractory covered": estimate(alpha["coverage_of_positives"]),
                "avid covered": estimate(alpha["coverage_of_negatives"]),
                "calibrated on": f"{alpha['calibration_lesions']} lesions of "
                f"{alpha['calibration_patients']} patients",
            }
            for alpha in figures_of["conformal"]
        ]
    tables = []
    if rows:
        caption = (
            "Conformal triage, calibrated on validation patients: a lesion is decided if exactly "
            "one label is plausible; otherwise it is too uncertain to decide from CT."
        )
        tables = [run.output.table("triage", pd.DataFrame(rows), caption)]
    return page.Section("Abstention", figures=figures, tables=tables)

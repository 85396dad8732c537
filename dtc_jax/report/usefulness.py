"""What the scores are good for: decision curves, calibration, patients, abstention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.report import page, utility, wording
from dtc_jax.report.performance import RATES, who
from dtc_jax.report.subject import Subject
from dtc_jax.statistics import decision_curve

_RULES = {
    "any": "any lesion refractory",
    "all": "all lesions refractory",
    "mean": "mean score",
    "volume": "mean score weighted by volume",
}


def deciding(subject: Subject) -> page.Section:
    """Decision curves of withholding I-131, lesion by lesion."""
    figures, rows = [], []
    for cohort, section in subject.tested():
        curve = section["decision_curve"]
        if curve is None:
            continue
        caption = (
            f"Decision curve, {cohort} cohort, test: {who(section)}. Band: 95 %, bootstrap of "
            "patients. Net benefit counts each refractory lesion spared I-131, less the avid ones "
            "that miss it, weighted by the odds of the threshold probability."
        )
        drawn = utility.decision_curve(curve, _best_baseline(subject, cohort, curve["threshold"]))
        figures.append(subject.place.figure(f"{cohort}-decision-curve", drawn, caption))
        rows += _net_benefits(cohort, curve)
    tables = []
    if rows:
        caption = (
            "Net benefit at some threshold probabilities; gain: over the better of the others."
        )
        tables = [subject.place.table("net-benefit", pd.DataFrame(rows), caption)]
    return page.Section("Decision curves", figures=figures, tables=tables)


def _best_baseline(
    subject: Subject, cohort: str, thresholds: Sequence[float]
) -> dict[str, np.ndarray]:
    """Net benefit of the baseline with the best AUC."""
    found = {}
    for name in list(subject.baselines(cohort))[:1]:
        rows = subject.baseline_rows(name, cohort)
        curves = decision_curve.net_benefit(
            rows.label.to_numpy(int), rows.score.to_numpy(np.float64), np.asarray(thresholds)
        )
        found[f"by the baseline {name}"] = curves["model"]
    return found


def _net_benefits(cohort: str, curve: Mapping[str, Any]) -> list[dict[str, str]]:
    at = np.asarray(curve["threshold"])
    rows = []
    for wanted in (0.2, 0.35, 0.5, 0.65, 0.8):
        i = int(np.argmin(np.abs(at - wanted)))
        row = {"cohort": cohort, "threshold": f"{at[i]:.2f}"}
        for key, name in (("model", "network"), ("all", "from all"), ("gain", "gain")):
            row[name] = wording.estimate({end: curve[key][end][i] for end in curve[key]})
        rows.append(row)
    return rows


def calibrating(subject: Subject) -> page.Section:
    """Reliability curves, recalibration, and predictive values at other prevalences."""
    figures, rows = [], []
    for cohort, section in subject.tested():
        found = section["calibration"]
        if found is None:
            continue
        caption = (
            f"Calibration, {cohort} cohort, test: {who(section)}; bins of equally many lesions. "
            f"Slope {wording.estimate(found['slope'], 2)}, intercept "
            f"{wording.estimate(found['intercept'], 2)}, Brier score "
            f"{wording.number(found['brier']['value'])}, that of always saying the prevalence "
            f"{wording.number(found['brier_prevalence'])}."
        )
        drawn = utility.calibration(section)
        figures.append(subject.place.figure(f"{cohort}-calibration", drawn, caption))
        if found["prevalence"] is not None:
            caption = (
                f"Predictive values, {cohort} cohort, test, if another share of the lesions were "
                "refractory, at the sensitivity and specificity of the decisions."
            )
            drawn = utility.prevalence(section)
            figures.append(subject.place.figure(f"{cohort}-prevalence", drawn, caption))
        rows.append({"cohort": cohort, "scores": "as predicted", **_calibration(found)})
        for name, after in (found["recalibrated"] or {}).items():
            rows.append({"cohort": cohort, "scores": f"after {name}", **_calibration(after)})
    tables = []
    if rows:
        caption = (
            "Calibration of test lesions. Recalibration is fitted on validation lesions alone; all "
            "else in this report is of the scores as predicted. ECE: expected calibration error."
        )
        tables = [subject.place.table("calibration", pd.DataFrame(rows), caption)]
    return page.Section("Calibration", figures=figures, tables=tables)


def _calibration(found: Mapping[str, Any]) -> dict[str, str]:
    def written(key: str) -> str:
        value = found[key]
        return wording.estimate(value) if isinstance(value, Mapping) else wording.number(value)

    names = {"slope": "slope", "intercept": "intercept", "brier": "Brier", "ece": "ECE"}
    return {short: written(key) for key, short in names.items()}


def patients(subject: Subject) -> page.Section:
    """Decisions on patients, since I-131 is given to patients."""
    figures, rows, text = [], [], []
    for cohort, section in subject.tested():
        level = section["patient_level"]
        if level is None:
            continue
        text.append(
            f"{cohort.capitalize()} cohort: {wording.count(level['patients'], 'patient')}, "
            f"{level['positives']} refractory and {level['negatives']} avid. "
            f"{level['mixed'] or 'None'} with lesions of both kinds; such a patient counts as "
            f"refractory if {level['truth']} of the lesions are."
        )
        for rule, found in level["rules"].items():
            rates = found["rates"]
            rows.append(
                {
                    "cohort": cohort,
                    "rule": _RULES[rule],
                    "AUC": wording.estimate(found["auc"]),
                    **{short: wording.estimate(rates[key]) for key, short in RATES.items()},
                    **{key.upper(): str(n) for key, n in found["confusion"].items()},
                }
            )
        shown = level["rules"].get("mean")
        if shown and shown["decision_curve"]:
            caption = (
                f"Decision curve of patients, {cohort} cohort, test, by the mean of their lesions' "
                f"scores; {wording.count(level['patients'], 'patient')}."
            )
            drawn = utility.decision_curve(shown["decision_curve"])
            figures.append(subject.place.figure(f"{cohort}-patients", drawn, caption))
    tables = []
    if rows:
        caption = "Patients by the rule that makes one decision of their lesions' scores."
        tables = [subject.place.table("patients", pd.DataFrame(rows), caption)]
    return page.Section("Patients", text, figures, tables)


def abstaining(subject: Subject) -> page.Section:
    """How decisions gain when the uncertain lesions are left open."""
    figures, rows = [], []
    for cohort, section in subject.tested():
        found = section["abstention"]
        if found is None:
            continue
        caption = (
            f"Wrong decisions when only the most certain lesions are decided, {cohort} cohort, "
            f"test. Area under the curve {wording.number(found['aurc'])}, lower is better."
        )
        drawn = utility.risk_coverage(section)
        figures.append(subject.place.figure(f"{cohort}-abstention", drawn, caption))
        rows += [
            {
                "cohort": cohort,
                "share meant to be missed": f"{alpha['alpha']:g}",
                "decided": wording.estimate(alpha["decided"]),
                "avid, refractory, both, neither": ", ".join(
                    str(alpha["counts"][key]) for key in ("avid", "refractory", "both", "neither")
                ),
                "wrong of the decided": wording.estimate(alpha["error_of_decided"]),
                "refractory covered": wording.estimate(alpha["coverage_of_positives"]),
                "avid covered": wording.estimate(alpha["coverage_of_negatives"]),
                "calibrated on": f"{alpha['calibration_lesions']} lesions of "
                f"{alpha['calibration_patients']} patients",
            }
            for alpha in found["conformal"]
        ]
    tables = []
    if rows:
        caption = (
            "Conformal triage, calibrated on validation patients: a lesion is decided where one "
            "label alone is plausible, else it is too uncertain to decide from CT."
        )
        tables = [subject.place.table("triage", pd.DataFrame(rows), caption)]
    return page.Section("Abstention", figures=figures, tables=tables)

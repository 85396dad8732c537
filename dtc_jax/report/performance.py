"""Chapters on discrimination: headline, Table 2, ROC curves, subgroups, comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dtc_jax.report import by_size, page, roc_plots
from dtc_jax.report.report_run import OutputFolder, ReportRun
from dtc_jax.statistics import comparison, predictions_table, roc
from dtc_jax.statistics.formatting import count, estimate, interval, number, p_value

_CURVES = 3  # baselines drawn with the ROC curve of a network
_MINUS = "\N{MINUS SIGN}"


def headlines(run: ReportRun, named: bool) -> list[page.Headline]:
    """The AUC of each tested cohort in large type.

    Args:
      run: the run.
      named: whether to name the run, since the report has several.
    """
    return [
        page.Headline(
            f"AUC, {cohort} cohort, test" + (f", {run.name}" if named else ""),
            number(section["auc"]["value"]),
            interval(section["auc"]),
            [
                f"{counts(section)}.",
                f"Sensitivity {estimate(section['rates']['sensitivity'])}, "
                f"specificity {estimate(section['rates']['specificity'])}.",
                *_best_baseline(run, cohort),
            ],
        )
        for cohort, section in run.tested()
    ]


def _best_baseline(run: ReportRun, cohort: str) -> list[str]:
    """The best baseline and the difference to it on the lesions that both scored."""
    best = next(iter(run.baselines(cohort).items()), None)
    if best is None:
        return []
    name, figures = best
    text = f"Best baseline, {name}: AUC {estimate(figures['auc'])}"
    rows = run.beside_baseline(name, cohort)
    both = rows[rows.baseline.notna()]
    if both.label.nunique() < 2:
        return [f"{text}."]
    scores = (both.score, both.baseline)
    difference = comparison.paired(both.label, *scores, both.patient_id)
    gain = f"network {_MINUS} baseline: {estimate(difference.estimate.as_dict())}"
    if len(both) < len(rows):
        lesions = count(len(both.drop_duplicates(["patient_id", "lesion_id"])), "lesion")
        areas = " and ".join(number(roc.auc(both.label, score)) for score in scores)
        text += f". On the {lesions} that both scored: AUC {areas}"
    return [f"{text}; {gain}, P {p_value(difference.p)}."]


def counts(section: Mapping[str, Any]) -> str:
    """'123 lesions of 24 patients, 83 refractory and 40 avid', and the predictions, if more."""
    return (
        f"{count(section['lesions'], 'lesion')} of {count(section['patients'], 'patient')}, "
        f"{section['positive_lesions']} refractory and {section['negative_lesions']} avid"
        f"{_predictions(section)}"
    )


def _predictions(section: Mapping[str, Any]) -> str:
    """', 180 predictions' where several folds scored a lesion, else ''."""
    several = section["predictions"] > section["lesions"]
    return f", {count(section['predictions'], 'prediction')}" if several else ""


def table_2(run: ReportRun) -> page.Table:
    """The study's Table 2, with counts, and with the baselines below each cohort."""
    rows = []
    for cohort, by_split in run.sections.items():
        for split in reversed(predictions_table.SPLITS):
            if split not in by_split:
                continue
            section = by_split[split]
            rows.append(_row(cohort, split, "network", section, section["rates"]))
            if split == "test":
                for name, figures in run.baselines(cohort).items():
                    rows.append(_row(cohort, split, name, figures, figures))
    return run.output.table(
        "performance",
        pd.DataFrame(rows),
        "Performance, with 95 % intervals clustered by patient. Lesions: refractory + avid; where "
        "several folds scored them, TP, FN, TN and FP are of all predictions. The baselines were "
        "fitted on the same training lesions, and their thresholds were chosen by the same rule: "
        "features is a random forest on size, shape and HU, box_extent uses only the size of the "
        "crop, majority predicts the share of refractory training lesions.",
    )


def _row(
    cohort: str, split: str, name: str, section: Mapping[str, Any], rates: Mapping[str, Any]
) -> dict[str, str]:
    confusion = section["confusion"]
    return {
        "by": name,
        "cohort": cohort,
        "split": split,
        "AUC": estimate(section["auc"]),
        **{short: estimate(rates[key]) for key, short in by_size.RATES.items()},
        **{key.upper(): str(confusion[key]) for key in ("tp", "fn", "tn", "fp")},
        "lesions": f"{section['positive_lesions']} + {section['negative_lesions']}"
        f"{_predictions(section)}",
        "patients": str(section["patients"]),
    }


def discrimination(run: ReportRun) -> page.Section:
    """ROC curves, performance by diameter, and the effect of clustering on the interval."""
    figures, details = [], []
    for cohort, section in run.tested():
        details.append(_details(cohort, section))
        if section["roc"] is None:
            continue
        caption = (
            f"ROC curve, {cohort} cohort, test: {counts(section)}. Band: pointwise 95 %, bootstrap "
            "of patients. Dot: operating point of the decisions. Interval of the AUC: "
            f"{section['auc']['interval']}."
        )
        drawn = roc_plots.roc(section, _baseline_curves(run, cohort))
        figures.append(run.output.figure(f"{cohort}-roc", drawn, caption))
        figures += by_size.figures(run, cohort, section)
    if not details:
        return page.Section("Discrimination", tables=[table_2(run)])
    table = run.output.table(
        "auc-details",
        pd.DataFrame(details),
        "How much clustering by patient widens the interval. The design effect is the clustered "
        "variance divided by the variance of independent lesions.",
    )
    sizes = by_size.table(run)
    tables = [table_2(run), *([sizes] if sizes else []), table]
    return page.Section("Discrimination", figures=figures, tables=tables)


def _baseline_curves(run: ReportRun, cohort: str) -> dict[str, roc_plots.Curve]:
    curves = {}
    for name, figures in list(run.baselines(cohort).items())[:_CURVES]:
        rows = run.baseline_rows(name, cohort)
        if rows.label.nunique() == 2:
            fpr, tpr, _ = roc.curve(rows.label.to_numpy(), rows.score.to_numpy())
            curves[f"{name} {estimate(figures['auc'])}"] = (fpr, tpr)
    return curves


def _details(cohort: str, section: Mapping[str, Any]) -> dict[str, str]:
    icc = section["icc"] or {}
    return {
        "cohort, test": cohort,
        "AUC, clustered": estimate(section["auc"]),
        "bootstrap of patients": estimate(section["auc_bootstrap"]),
        "independent lesions": estimate(section["auc_naive"]),
        "design effect": number(section["design_effect"], 2),
        "ICC refractory, avid, correct": ", ".join(
            number(icc.get(key), 2) for key in ("positives", "negatives", "correct")
        ),
        "average precision": estimate(section["average_precision"]),
        "F1": estimate(section["rates"].get("f1")),
    }


def subgroups(run: ReportRun) -> page.Section:
    """Forest plots of the tested cohorts."""
    figures, rows = [], []
    for cohort, section in run.tested():
        if not section["subgroups"]:
            continue
        drawn = roc_plots.forest(section)
        notes = " ".join(
            f"{group['factor'].capitalize()}: {_sentence(group['note'])}"
            for group in section["subgroups"]
        )
        caption = (
            f"AUC by subgroup, {cohort} cohort, test. Dotted line: all lesions. {notes} No figures "
            "for a subgroup with fewer than 5 lesions of either label."
        )
        figures.append(run.output.figure(f"{cohort}-forest", drawn, caption, wide=True))
        rows += [
            {
                "cohort": cohort,
                "factor": group["factor"],
                "level": level["level"],
                "lesions": level["lesions"],
                "patients": level["patients"],
                "refractory": level["positives"],
                "avid": level["negatives"],
                "AUC": estimate(level["auc"]) if level["auc"] else level["note"],
                "accuracy": estimate(level["accuracy"]) if level["accuracy"] else "",
                "interaction P": p_value(group["interaction"]["p"]),
            }
            for group in section["subgroups"]
            for level in group["levels"]
        ]
    if not rows:
        return page.Section("Subgroups")
    table = run.output.table("subgroups", pd.DataFrame(rows), "")
    return page.Section("Subgroups", [f"As a table, with accuracy: {table.file}."], figures)


def comparisons(entries: Sequence[Mapping[str, Any]], output: OutputFolder) -> page.Section:
    """Differences of AUC between runs on the same lesions and between cohorts.

    Args:
      entries: COMPARISONs of `statistics.study`.
      output: where the table is written.
    """
    rows = [
        {
            f"first {_MINUS} second": f"{_side(entry['first'])} {_MINUS} {_side(entry['second'])}",
            "kind": entry["kind"],
            "split": entry["split"],
            "lesions": entry["lesions"],
            "patients": entry["patients"],
            "AUCs": f"{number(entry['auc_first'])}, {number(entry['auc_second'])}",
            "difference": estimate(entry["difference"]),
            "P": p_value(entry["p"]),
            "P, Holm": p_value(entry["p_holm"]),
            "P, naive": p_value(entry["p_naive"]),
            "non-inferior": non_inferiority(entry["non_inferiority"]),
        }
        for entry in entries
    ]
    caption = (
        "Differences of AUC, clustered by patient. Paired: two runs on the same lesions. Unpaired: "
        "two cohorts. Naive: lesions treated as independent."
    )
    tables = [output.table("comparisons", pd.DataFrame(rows), caption)] if rows else []
    return page.Section("Comparisons", tables=tables)


def _side(side: Mapping[str, str]) -> str:
    return f"{side['run']}, {side['cohort']}"


def non_inferiority(test: Mapping[str, Any] | None) -> str:
    """'yes, margin 0.05, P 0.012', of `Difference.non_inferiority`; '' without a test."""
    if test is None or test["p"] is None:
        return ""
    result = "yes" if test["holds"] else "not shown"
    return f"{result}, margin {test['margin']:g}, P {p_value(test['p'])}"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}." if text else ""

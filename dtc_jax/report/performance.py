"""How well lesions are told apart: headline, Table 2, ROC curves, subgroups, comparisons."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dtc_jax.report import discrimination, page, wording
from dtc_jax.report.subject import Place, Subject
from dtc_jax.statistics import comparison, roc

RATES = {
    "accuracy": "ACC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
}
_CURVES = 3  # baselines drawn beside a network's ROC curve


def headlines(subject: Subject, named: bool) -> list[page.Headline]:
    """The AUC of each tested cohort in large figures.

    Args:
      subject: the run.
      named: whether to name the run, since the report has several.
    """
    found = []
    for cohort, section in subject.tested():
        sentences = [
            f"{who(section)}.",
            f"Sensitivity {wording.estimate(section['rates']['sensitivity'])}, "
            f"specificity {wording.estimate(section['rates']['specificity'])}.",
        ]
        sentences += _against_best(subject, cohort)
        found.append(
            page.Headline(
                f"AUC, {cohort} cohort, test" + (f", {subject.name}" if named else ""),
                wording.number(section["auc"]["value"]),
                wording.interval(section["auc"]),
                sentences,
            )
        )
    return found


def _against_best(subject: Subject, cohort: str) -> list[str]:
    """The best baseline and what the network has over it on the lesions that both scored."""
    found = list(subject.baselines(cohort).items())[:1]
    if not found:
        return []
    name, best = found[0]
    text = f"Best baseline, {name}: AUC {wording.estimate(best['auc'])}"
    key = ["fold", "patient_id", "lesion_id"]
    rows = subject.rows[(subject.rows.cohort == cohort) & (subject.rows.split == "test")]
    rows = rows[rows.label.notna() & rows.score.notna()]
    both = rows.merge(subject.baseline_rows(name, cohort)[[*key, "score"]], on=key)
    if both.label.nunique() < 2:
        return [f"{text}."]
    difference = comparison.paired(both.label, both.score_x, both.score_y, both.patient_id)
    gained = wording.estimate(difference.estimate.as_dict())
    return [
        f"{text}; the network's less the baseline's: {gained}, P {wording.p_value(difference.p)}."
    ]


def who(section: Mapping[str, Any]) -> str:
    """'123 lesions of 24 patients, 83 refractory and 40 avid'."""
    return (
        f"{wording.count(section['lesions'], 'lesion')} of "
        f"{wording.count(section['patients'], 'patient')}, {section['positives']} refractory and "
        f"{section['negatives']} avid"
    )


def table_2(subject: Subject) -> page.Table:
    """The study's Table 2, with counts and the baselines below each cohort."""
    rows = []
    for cohort, by_split in subject.sections.items():
        for split in ("test", "validation", "train"):
            if split not in by_split:
                continue
            section = by_split[split]
            rows.append(_row(cohort, split, "network", section, section["rates"]))
            if split == "test":
                for name, found in subject.baselines(cohort).items():
                    rows.append(_row(cohort, split, name, found, found))
    return subject.place.table(
        "performance",
        pd.DataFrame(rows),
        "Performance, with 95 % intervals that respect patients. Lesions are given as refractory + "
        "avid. The baselines were fitted on the same training lesions, their thresholds chosen in "
        "the same way: features is a random forest on size, shape and HU, box_extent sees how the "
        "lesion was cut out, majority the share of the classes.",
    )


def _row(
    cohort: str, split: str, name: str, section: Mapping[str, Any], rates: Mapping[str, Any]
) -> dict[str, str]:
    counts = section["confusion"]
    return {
        "by": name,
        "cohort": cohort,
        "split": split,
        "AUC": wording.estimate(section["auc"]),
        **{short: wording.estimate(rates[key]) for key, short in RATES.items()},
        **{key.upper(): str(counts[key]) for key in ("tp", "fn", "tn", "fp")},
        "lesions": f"{section['positives']} + {section['negatives']}",
        "patients": str(section["patients"]),
    }


def discriminating(subject: Subject) -> page.Section:
    """ROC curves, the AUC by diameter, and what the naive interval would have said."""
    figures, details = [], []
    for cohort, section in subject.tested():
        details.append(_details(cohort, section))
        if section["roc"] is None:
            continue
        curves = _curves(subject, cohort)
        caption = (
            f"ROC curve, {cohort} cohort, test: {who(section)}. Band: pointwise 95 %, bootstrap of "
            "patients. The dot is where the decisions stand. Interval of the AUC: "
            f"{section['auc']['interval']}."
        )
        drawn = discrimination.roc(section, curves)
        figures.append(subject.place.figure(f"{cohort}-roc", drawn, caption))
        for group in section["subgroups"]:
            if group["factor"] == "diameter":
                drawn = discrimination.by_diameter(group["levels"])
                note = _sentence(group["note"])
                caption = f"Performance by diameter, {cohort} cohort, test; {note}"
                figures.append(subject.place.figure(f"{cohort}-diameter", drawn, caption))
    table = subject.place.table(
        "auc-details",
        pd.DataFrame(details),
        "How much the patients' shared lesions widen the interval. The design effect is the "
        "clustered variance over the one that takes lesions for independent.",
    )
    return page.Section("Discrimination", figures=figures, tables=[table_2(subject), table])


def _curves(subject: Subject, cohort: str) -> dict[str, discrimination.Curve]:
    found = {}
    for name, figures in list(subject.baselines(cohort).items())[:_CURVES]:
        rows = subject.baseline_rows(name, cohort)
        if rows.label.nunique() == 2:
            fpr, tpr, _ = roc.curve(rows.label.to_numpy(), rows.score.to_numpy())
            found[f"{name} {wording.estimate(figures['auc'])}"] = (fpr, tpr)
    return found


def _details(cohort: str, section: Mapping[str, Any]) -> dict[str, str]:
    icc = section["icc"] or {}
    return {
        "cohort, test": cohort,
        "AUC, clustered": wording.estimate(section["auc"]),
        "bootstrap of patients": wording.estimate(section["auc_bootstrap"]),
        "lesions as independent": wording.estimate(section["auc_naive"]),
        "design effect": wording.number(section["design_effect"], 2),
        "ICC refractory, avid, correct": ", ".join(
            wording.number(icc.get(key), 2) for key in ("positives", "negatives", "correct")
        ),
        "average precision": wording.estimate(section["average_precision"]),
        "F1": wording.estimate(section["rates"].get("f1")),
    }


def subgroups(subject: Subject) -> page.Section:
    """Forest plots of the tested cohorts."""
    figures, rows = [], []
    for cohort, section in subject.tested():
        if not section["subgroups"]:
            continue
        drawn = discrimination.forest(section)
        notes = " ".join(
            f"{group['factor'].capitalize()}: {_sentence(group['note'])}"
            for group in section["subgroups"]
        )
        caption = (
            f"AUC by subgroup, {cohort} cohort, test. Dotted: all lesions. {notes} A subgroup with "
            "fewer than 5 lesions of a class has no figure."
        )
        figures.append(subject.place.figure(f"{cohort}-forest", drawn, caption, wide=True))
        rows += [
            {
                "cohort": cohort,
                "factor": group["factor"],
                "level": level["level"],
                "lesions": level["lesions"],
                "patients": level["patients"],
                "refractory": level["positives"],
                "avid": level["negatives"],
                "AUC": wording.estimate(level["auc"]) if level["auc"] else level["note"],
                "accuracy": wording.estimate(level["accuracy"]) if level["accuracy"] else "",
                "interaction P": wording.p_value(group["interaction"]["p"]),
            }
            for group in section["subgroups"]
            for level in group["levels"]
        ]
    if not rows:
        return page.Section("Subgroups")
    table = subject.place.table("subgroups", pd.DataFrame(rows), "")
    return page.Section("Subgroups", [f"As a table, with accuracy: {table.file}."], figures)


def compared(comparisons: Sequence[Mapping[str, Any]], place: Place) -> page.Section:
    """Differences of AUC between runs on the same lesions and between cohorts."""
    rows = [
        {
            "first \N{MINUS SIGN} second": f"{_named(found['first'])} \N{MINUS SIGN} "
            f"{_named(found['second'])}",
            "kind": found["kind"],
            "split": found["split"],
            "lesions": found["lesions"],
            "patients": found["patients"],
            "AUCs": f"{wording.number(found['auc_first'])}, {wording.number(found['auc_second'])}",
            "difference": wording.estimate(found["difference"]),
            "P": wording.p_value(found["p"]),
            "P, Holm": wording.p_value(found["p_holm"]),
            "P, naive": wording.p_value(found["p_naive"]),
            "non-inferior": _non_inferior(found["non_inferiority"]),
        }
        for found in comparisons
    ]
    caption = (
        "Differences of AUC, clustered by patient. Paired: two runs on the same lesions. Unpaired: "
        "two cohorts. Naive: as if lesions were independent."
    )
    tables = [place.table("comparisons", pd.DataFrame(rows), caption)] if rows else []
    return page.Section("Comparisons", tables=tables)


def _named(side: Mapping[str, str]) -> str:
    return f"{side['run']}, {side['cohort']}"


def _non_inferior(found: Mapping[str, Any] | None) -> str:
    if found is None or found["p"] is None:
        return ""
    verdict = "yes" if found["holds"] else "not shown"
    return f"{verdict}, margin {found['margin']:g}, P {wording.p_value(found['p'])}"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}." if text else ""

"""What was chosen on which data, what it was made with, and what the guidelines still ask for."""

import importlib.resources

import pandas as pd

from dtc_jax.report import facts, page, wording
from dtc_jax.report.subject import Subject

_WRONG = 15  # wrong decisions shown


def chosen(subject: Subject) -> page.Section:
    """What was chosen on which data; versions and fingerprints."""
    known = facts.facts(subject)
    names = {"partition": "Split", "chosen": "Network and epoch", "threshold": "Threshold"}
    points = [f"{name}: {known[key]}." for key, name in names.items() if key in known]
    for cohort, section in subject.tested():
        values = ", ".join(wording.number(value) for value in section["threshold"]["values"])
        points.append(f"{cohort.capitalize()}: threshold {values}.")
    if "partition" in known:
        points.append("Test lesions had no part in any choice.")
    for i, values in enumerate(subject.artefacts.metrics.get("candidates", [])):
        scores = ", ".join(f"{name} {wording.number(value)}" for name, value in values.items())
        points.append(f"Candidates of fold {i} on its validation lesions: {scores}.")
    points += [f"{line}." for line in facts.fingerprints(subject)]
    points.append(f"{facts.software()}.")
    return page.Section("What was chosen on which data", points=points)


def failures(subject: Subject) -> page.Section:
    """The wrong decisions, the surest first."""
    rows = subject.rows
    wrong = rows[(rows.split == "test") & (rows.decision != rows.label)]
    wrong = wrong[wrong.label.notna() & wrong.score.notna()]
    wrong = wrong.assign(off=(wrong.score - wrong.label).abs()).sort_values("off", ascending=False)
    columns = [c for c in ("cohort", "fold", "center", "diameter_mm") if c in wrong]
    table = wrong[["lesion_id", *columns, "label", "score", "threshold"]].round(3)
    if table.empty:
        return page.Section("Wrong decisions")
    made = subject.place.table(
        "wrong-decisions",
        table.assign(label=table.label.map({0: "avid", 1: "refractory"})),
        f"The wrong decisions on test lesions, the surest first: {min(_WRONG, len(table))} of "
        f"{len(table)} (all in the file).",
    )
    shown = page.Table(made.rows.head(_WRONG), made.caption, made.file)
    return page.Section("Wrong decisions", tables=[shown])


def checklist(subject: Subject) -> page.Section:
    """CLAIM 2024 and TRIPOD+AI, filled from the run's own files; open items are the authors'."""
    source = importlib.resources.files("dtc_jax.report") / "checklist.csv"
    with source.open(encoding="utf-8") as file:
        items = pd.read_csv(file, dtype=str, keep_default_na=False)
    known = facts.facts(subject)
    texts = ["; ".join(known[key] for key in keys.split() if key in known) for keys in items.facts]
    items = items.assign(here=texts).drop(columns="facts")
    tables, points = [], []
    for guideline, own in items.groupby("guideline", sort=False):
        name = str(guideline).lower().replace(" ", "-").replace("+", "-")
        shown = own[["item", "topic", "here"]].rename(columns={"here": "from this run"})
        filled = shown[shown["from this run"] != ""]
        caption = f"{guideline}: {len(filled)} of {len(own)} items filled from the run's own files."
        made = subject.place.table(f"checklist-{name}", shown, caption)
        tables.append(page.Table(filled, caption, made.file))
        left = own[own.here == ""]
        points.append(
            f"{guideline}, open, for the authors to fill: "
            + "; ".join(f"{row.item} {row.topic}" for row in left.itertuples())
        )
    return page.Section("Reporting checklists", tables=tables, points=points)

"""Chapters on wrong decisions, on what was chosen on which data, and the reporting checklists."""

import importlib.resources

import pandas as pd

from dtc_jax.report import checklist_answers, page
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics.formatting import number

_LISTED = 15  # wrong decisions


def choices(run: ReportRun) -> page.Section:
    """What was chosen on which data; versions and fingerprints."""
    answers = checklist_answers.answers(run)
    names = {"partition": "Split", "chosen": "Network and epoch", "threshold": "Threshold"}
    points = [f"{name}: {answers[key]}." for key, name in names.items() if key in answers]
    for cohort, section in run.tested():
        values = ", ".join(number(value) for value in section["threshold"]["values"])
        points.append(f"{cohort.capitalize()}: threshold {values}.")
    if run.artefacts.init is not None:
        points.append(f"Start: {answers['initialization']}.")
    if "partition" in answers:
        points.append("Test lesions were not used for any choice.")
    for i, candidates in enumerate(run.artefacts.metrics.get("candidates", [])):
        scores = ", ".join(f"{name} {number(value)}" for name, value in candidates.items())
        points.append(f"Candidates of fold {i} on its validation lesions: {scores}.")
    points += [f"{line}." for line in checklist_answers.fingerprints(run)]
    points.append(f"{checklist_answers.software()}.")
    return page.Section("What was chosen on which data", points=points)


def wrong_decisions(run: ReportRun) -> page.Section:
    """The wrong decisions, the most confident first."""
    rows = run.rows
    wrong = rows[(rows.split == "test") & (rows.decision != rows.label)]
    wrong = wrong[wrong.label.notna() & wrong.score.notna()]
    wrong = wrong.assign(error=(wrong.score - wrong.label).abs())
    wrong = wrong.sort_values("error", ascending=False)
    columns = [c for c in ("cohort", "fold", "center", "diameter_mm") if c in wrong]
    table = wrong[["lesion_id", *columns, "label", "score", "threshold"]].round(3)
    if table.empty:
        return page.Section("Wrong decisions")
    written = run.output.table(
        "wrong-decisions",
        table.assign(label=table.label.map({0: "avid", 1: "refractory"})),
        f"Wrong decisions on test lesions, the most confident first: {min(_LISTED, len(table))} of "
        f"{len(table)} (all in the file).",
    )
    listed = page.Table(written.rows.head(_LISTED), written.caption, written.file)
    return page.Section("Wrong decisions", tables=[listed])


def checklists(run: ReportRun) -> page.Section:
    """CLAIM 2024, TRIPOD+AI and STROBE, filled from the run's own files as far as they go."""
    source = importlib.resources.files("dtc_jax.report") / "checklist.csv"
    with source.open(encoding="utf-8") as file:
        items = pd.read_csv(file, dtype=str, keep_default_na=False)
    answers = checklist_answers.answers(run)
    texts = [
        "; ".join(answers[key] for key in keys.split() if key in answers) for keys in items.answers
    ]
    items = items.assign(answers=texts)
    tables, points = [], []
    for guideline, rows in items.groupby("guideline", sort=False):
        name = str(guideline).lower().replace(" ", "-").replace("+", "-")
        table = rows[["item", "topic", "answers"]].rename(columns={"answers": "from this run"})
        filled = table[rows.answers != ""]
        caption = f"{guideline}: {len(filled)} of {len(rows)} items filled from the run's files."
        written = run.output.table(f"checklist-{name}", table, caption)
        tables.append(page.Table(filled, caption, written.file))
        open_items = rows[rows.answers == ""].itertuples()
        points.append(
            f"{guideline}, to be completed by the authors: "
            + "; ".join(f"{row.item} {row.topic}" for row in open_items)
        )
    return page.Section("Reporting checklists", tables=tables, points=points)

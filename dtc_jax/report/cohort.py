"""Who was studied and how the network came about: flowchart, tables, diameters, training curves."""

from dtc_jax.report import cohort_tables, description, flowchart, page, wording
from dtc_jax.report.subject import Subject


def studied(subject: Subject) -> page.Section:
    """The flowchart, Table 1 and the diameters of each cohort."""
    figures = []
    flow = subject.artefacts.metrics.get("flow", [])
    for cohort, rows in subject.rows.groupby("cohort", sort=False):
        steps = [step for step in flow if step["cohort"] == cohort]
        drawn = flowchart.draw(steps, rows[rows.label.notna()])
        notes = [
            f"{step['reason']} ({step['lesions']})" for step in steps if step["kind"] == "note"
        ]
        caption = f"Flowchart, {cohort} cohort. " + " ".join(f"Note: {note}." for note in notes)
        figures.append(subject.place.figure(f"{cohort}-flowchart", drawn, caption))
        lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
        lesions = lesions[lesions.label.notna()]
        if "diameter_mm" in lesions and lesions.diameter_mm.notna().any():
            known = lesions[lesions.diameter_mm.notna()]
            mean, sd = known.diameter_mm.mean(), known.diameter_mm.std()
            caption = (
                f"Diameters, {cohort} cohort: {wording.count(len(known), 'lesion')}, mean ± SD "
                f"{mean:.1f} ± {sd:.1f} mm, median {known.diameter_mm.median():.1f} mm."
            )
            drawn = description.diameters(known)
            figures.append(subject.place.figure(f"{cohort}-diameters", drawn, caption))
    tables = [
        subject.place.table(f"cohort-{name}", rows, _caption(name))
        for name, rows in cohort_tables.tables(subject.rows).items()
    ]
    return page.Section("Cohort", figures=figures, tables=tables)


def _caption(name: str) -> str:
    return (
        f"Characteristics, {name}. 'Mixed' patients have lesions in several groups. P values of "
        "lesions take them for independent."
    )


def training(subject: Subject) -> page.Section:
    """Losses and rates by epoch."""
    curves, figures = subject.artefacts.curves, []
    if curves is not None:
        several = curves.training.nunique() > 1
        lines = f", a line for each of {curves.training.nunique()} trainings" if several else ""
        for metric in ("loss", "auc", "dice", "accuracy"):
            if (curves.metric == metric).any():
                drawn = description.training(curves, metric)
                name = {"auc": "AUC"}.get(metric, metric.capitalize())
                caption = f"{name} by epoch{lines}."
                figures.append(subject.place.figure(f"training-{metric}", drawn, caption))
    return page.Section("Training", figures=figures)

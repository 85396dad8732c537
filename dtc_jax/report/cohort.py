"""Chapters on the cohort and the training: flowchart, tables, diameters, training curves."""

from dtc_jax.report import cohort_plots, cohort_tables, flowchart, page
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics import formatting


def characteristics(run: ReportRun) -> page.Section:
    """The flowchart, Table 1 and the diameters of each cohort."""
    figures = []
    flow = run.artefacts.metrics.get("flow", [])
    for cohort, rows in run.rows.groupby("cohort", sort=False):
        rows = rows[rows.label.notna()]
        if rows.empty:  # a note counts them
            continue
        steps = [step for step in flow if step["cohort"] == cohort]
        drawn = flowchart.draw(steps, rows)
        notes = [
            f"Note: {step['reason']} ({step['lesions']})."
            for step in steps
            if step["kind"] == "note"
        ]
        caption = " ".join([f"Flowchart, {cohort} cohort.", *notes])
        figures.append(run.output.figure(f"{cohort}-flowchart", drawn, caption))
        lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
        if "diameter_mm" in lesions and lesions.diameter_mm.notna().any():
            measured = lesions[lesions.diameter_mm.notna()]
            mean, sd = measured.diameter_mm.mean(), measured.diameter_mm.std()
            caption = (
                f"Diameters, {cohort} cohort: {formatting.count(len(measured), 'lesion')}, "
                f"mean ± SD {mean:.1f} ± {sd:.1f} mm, median "
                f"{measured.diameter_mm.median():.1f} mm."
            )
            drawn = cohort_plots.diameters(measured)
            figures.append(run.output.figure(f"{cohort}-diameters", drawn, caption))
    tables = [
        run.output.table(
            f"cohort-{name}",
            rows,
            f"Characteristics, {name}. 'Mixed' patients have lesions in several groups. P values "
            "of lesions treat them as independent.",
        )
        for name, rows in cohort_tables.tables(run.rows).items()
    ]
    return page.Section("Cohort", figures=figures, tables=tables)


def training(run: ReportRun) -> page.Section:
    """Losses and metrics by epoch."""
    curves, figures = run.artefacts.curves, []
    if curves is not None:
        several = curves.training.nunique() > 1
        lines = f", one line for each of {curves.training.nunique()} trainings" if several else ""
        for metric in ("loss", "auc", "dice", "accuracy"):
            if (curves.metric == metric).any():
                drawn = cohort_plots.training(curves, metric)
                name = {"auc": "AUC"}.get(metric, metric.capitalize())
                caption = f"{name} by epoch{lines}."
                figures.append(run.output.figure(f"training-{metric}", drawn, caption))
    return page.Section("Training", figures=figures)

"""Draws docs/learning-curve.png from the table that `benchmarks.few_patients --table` has written.

.venv/bin/python -m docs.learning_curve_picture few.csv docs/learning-curve.png
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd

from dtc_jax.cohort import phantom

_COLORS = ["C0", "C3", "C2", "C1", "C4"]
_SHOWN = {"auc": "all lesions", "auc_small": "below 8 mm", "auc_large": "8 mm and above"}


def main(table: str, out: str) -> None:
    """Writes the picture `out`: AUC against patients, each cohort a point, means joined."""
    rows = pd.read_csv(table).drop_duplicates(["phantom", "patients", "cohort", "name"])
    if rows.phantom.nunique() > 1:
        raise SystemExit(f"{table}: is of several phantoms, whose tests differ; keep one of them.")
    names = ["features", *sorted({*rows.name} - {"features"})]
    attainable = phantom.attainable_auc(phantom.PhantomSpec())
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.2), sharey=True, layout="constrained")
    for panel, (column, title) in zip(panels, _SHOWN.items(), strict=True):
        for order, (color, name) in enumerate(zip(_COLORS[: len(names)], names, strict=True)):
            cohorts = rows[rows.name == name]
            # A little apart, so that the points do not hide each other.
            place = cohorts.patients * 1.04 ** (order - (len(names) - 1) / 2)
            panel.plot(place, cohorts[column], ".", color=color, alpha=0.5)
            means = cohorts.groupby("patients")[column].mean()
            panel.plot(means.index, means, "-o", color=color, label=name, markersize=4)
        if column == "auc":
            panel.axhline(attainable, color="0.5", linestyle=":", label="attainable")
        sizes = sorted(rows.patients.unique())
        panel.set_xscale("log")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.set(title=title, xlabel="patients")
    panels[0].set_ylabel("test AUC")
    panels[0].legend(fontsize=8)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Draws docs/learning-curve.png from the table that `benchmarks.few_patients --table` has written.

.venv/bin/python -m docs.learning_curve_picture few.csv docs/learning-curve.png
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd

_ATTAINABLE = 0.955  # AUC of the phantom
_SHOWN = {"auc": "all lesions", "auc_small": "below 8 mm", "auc_large": "8 mm and above"}


def main(table: str, out: str) -> None:
    """Writes the picture `out`: AUC against patients, each cohort a point, means joined."""
    rows = pd.read_csv(table)
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.2), sharey=True, layout="constrained")
    for panel, (column, title) in zip(panels, _SHOWN.items(), strict=True):
        for color, (name, cohorts) in zip(["C3", "C0", "C2"], rows.groupby("name"), strict=False):
            # A little apart, so that points of both do not hide each other.
            place = cohorts.patients * (1.03 if name == "features" else 1 / 1.03)
            panel.plot(place, cohorts[column], ".", color=color, alpha=0.5)
            means = cohorts.groupby("patients")[column].mean()
            panel.plot(means.index, means, "-o", color=color, label=name, markersize=4)
        if column == "auc":
            panel.axhline(_ATTAINABLE, color="0.5", linestyle=":", label="attainable")
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

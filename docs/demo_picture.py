"""Draws docs/demo.png from a finished `make demo`. Needs a clone and its `.venv`.

.venv/bin/python -m docs.demo_picture runs/senet-demo docs/demo.png
"""

import pathlib
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dtc_jax.experiment import workdir
from dtc_jax.statistics import roc
from dtc_jax.tasks import registry
from dtc_jax.tasks.sources import Data

_COLUMNS = 4
_WINDOW = (-1000, 400)  # HU
_SHOWN = {"SE-Net": "C3", "features": "C0", "diameter": "0.6"}


def main(run: str, out: str) -> None:
    """Writes the picture `out` of the finished run in the folder `run`."""
    folder = pathlib.Path(run)
    predictions = pd.read_csv(folder / "predictions.csv")
    baselines = pd.read_csv(folder / "baselines.csv")
    config = workdir.read_config(folder)
    data = registry.of(config).load(config)
    figure = plt.figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    _draw_lesions(left, data, predictions)
    _draw_roc(right.subplots(), predictions, baselines)
    figure.savefig(out, dpi=110)


def _draw_lesions(figure, data: Data, predictions: pd.DataFrame) -> None:
    """The largest test lesions of each class, a row a class, with the network's probability."""
    test = predictions[(predictions.split == "test") & (predictions.cohort == "primary")]
    positions = data.table.set_index("lesion_id").position
    axes = figure.subplots(2, _COLUMNS)
    for row, (label, name) in enumerate(((0, "avid"), (1, "refractory"))):
        lesions = test[test.label == label].sort_values("diameter_mm", ascending=False)
        for axis, lesion in zip(axes[row], lesions[:_COLUMNS].itertuples(), strict=False):
            record = data.records[int(positions[lesion.lesion_id])]
            middle = record["image"].shape[0] // 2
            axis.imshow(record["image"][middle], "gray", vmin=_WINDOW[0], vmax=_WINDOW[1])
            axis.contour(record["mask"][middle], levels=[0.5], colors="C1", linewidths=0.6)
            axis.set_title(f"{lesion.diameter_mm:.0f} mm, p {lesion.score:.2f}", fontsize=8)
            axis.set_axis_off()
        axes[row, 0].text(
            -0.12, 0.5, name, rotation=90, va="center", transform=axes[row, 0].transAxes
        )


def _draw_roc(axis, predictions: pd.DataFrame, baselines: pd.DataFrame) -> None:
    tables = pd.concat([predictions.assign(run="SE-Net"), baselines])
    tables = tables[(tables.split == "test") & (tables.cohort == "primary")]
    for name, color in _SHOWN.items():
        rows = tables[tables.run == name]
        labels, scores = rows.label.to_numpy(int), rows.score.to_numpy(np.float64)
        fpr, tpr, _ = roc.curve(labels, scores)
        estimate = roc.auc_interval(labels, scores, rows.patient_id.to_numpy(str))
        text = f"{name} {estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
        axis.plot(fpr, tpr, color=color, label=text)
    rows = tables[tables.run == "SE-Net"]
    axis.plot([0, 1], [0, 1], color="0.85", zorder=0)
    axis.set_xlabel("1 - specificity")
    axis.set_ylabel("sensitivity")
    axis.set_title(
        f"phantom test: {len(rows)} lesions, {rows.patient_id.nunique()} patients", fontsize=9
    )
    axis.legend(fontsize=7, loc="lower right", title="AUC [95 %]", title_fontsize=7)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Plots of the cohort and the training: diameters, losses and metrics by epoch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import figure

from dtc_jax.report import drawing


def diameters(lesions: pd.DataFrame) -> figure.Figure:
    """Histogram of the diameters of refractory and avid lesions.

    Args:
      lesions: [N] rows with diameter_mm and label, both known.
    """
    drawn = drawing.new(height=3.0)
    axis = drawn.subplots()
    largest = float(lesions.diameter_mm.quantile(0.99))  # one huge lesion must not squeeze the axis
    step = max(1, round(largest / 30))
    edges = np.arange(0, np.ceil(largest / step) * step + step, step)
    clipped = lesions.diameter_mm.clip(upper=edges[-1] - step / 2)
    for side, (label, (name, color)) in zip((0.25, 0.75), drawing.CLASSES.items(), strict=True):
        counts, _ = np.histogram(clipped[lesions.label == label], edges)
        for start, count in zip(edges, counts, strict=False):
            if count:
                center = start + side * step
                (bar,) = axis.bar(center, count, 0.5 * step, color=color)
                end = "or more" if start == edges[-2] else f"to {start + step:g}"
                drawing.tip(bar, f"{start:g} {end} mm: {count} {name}")
        total = int((lesions.label == label).sum())
        axis.bar([0], [0], color=color, label=f"{name}, n = {total}")
    axis.set(xlabel="largest axial diameter, mm", ylabel="lesions", xlim=(0, edges[-1]))
    axis.legend()
    return drawn


def training(curves: pd.DataFrame, metric: str) -> figure.Figure:
    """A metric by epoch in training and validation, one line per training.

    Args:
      curves: columns training (a name), epoch, split, metric and value.
      metric: 'loss', 'auc', …
    """
    drawn = drawing.new(height=3.0)
    axis = drawn.subplots()
    rows = curves[curves.metric == metric]
    several = rows.training.nunique() > 1
    for color, (split, of_split) in zip(drawing.SERIES, rows.groupby("split"), strict=False):
        for i, (name, curve) in enumerate(of_split.groupby("training")):
            label = split if i == 0 else None
            width, alpha = (0.9, 0.6) if several else (1.6, 1.0)
            axis.plot(curve.epoch, curve.value, color=color, lw=width, alpha=alpha, label=label)
            for row in curve.iloc[_some(len(curve))].itertuples():
                prefix = f"{name}, " if several else ""
                text = f"{prefix}{split}, epoch {row.epoch:g}: {metric} {row.value:.4g}"
                drawing.tip_at(axis, row.epoch, row.value, text, color)
    axis.set(xlabel="epoch", ylabel={"auc": "AUC", "dice": "Dice"}.get(metric, metric))
    axis.set_xlim(left=0)
    axis.legend()
    return drawn


def _some(length: int) -> Sequence[int]:
    return np.unique(np.linspace(0, length - 1, 12).astype(int)).tolist()

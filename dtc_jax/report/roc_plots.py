"""Plots of discrimination: ROC curves, AUC by diameter, forest plot of the subgroups."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import axes, figure

from dtc_jax.report import drawing
from dtc_jax.statistics.formatting import estimate, p_value

Curve = tuple[np.ndarray, np.ndarray]  # false and true positive rates, [K] each

_TIPS = 40  # points of a curve with a tooltip
_FOREST, _BY_SIZE = 6.2, 6.8  # inches, width


def roc(section: Mapping[str, Any], baselines: Mapping[str, Curve]) -> figure.Figure:
    """The ROC curve with its band and operating point, over the curves of the baselines.

    Args:
      section: SECTION of `statistics.study`, with both classes.
      baselines: curves by name with AUC.
    """
    curve = section["roc"]
    fpr, tpr = np.asarray(curve["fpr"]), np.asarray(curve["tpr"])
    drawn = drawing.new(height=4.1)
    axis = drawn.subplots()
    _unit_square(axis, "1 \N{MINUS SIGN} specificity", "sensitivity")
    for (name, points), dash in zip(baselines.items(), _dashes(), strict=False):
        (line,) = axis.plot(*points, color=drawing.QUIET, lw=0.9, ls=dash, label=name)
        drawing.tip(line, f"baseline {name}")
    low, high = (np.array(curve["band"][end], np.float64) for end in ("low", "high"))  # null: NaN
    axis.fill_between(curve["band"]["fpr"], low, high, color=drawing.SERIES[0], alpha=0.18, lw=0)
    auc = estimate(section["auc"])
    axis.plot(fpr, tpr, color=drawing.SERIES[0], label=f"network {auc}")
    point = curve["operating_point"]
    if point["fpr"] is not None and point["tpr"] is not None:
        rates = f"sensitivity {point['tpr']:.3f}, specificity {1 - point['fpr']:.3f}"
        (dot,) = axis.plot(
            point["fpr"], point["tpr"], "o", color=drawing.SERIES[1], ms=6, label="decisions"
        )
        drawing.tip(dot, f"decisions: {rates}")
    for i in np.unique(np.linspace(0, len(fpr) - 1, _TIPS).astype(int)):
        threshold = curve["threshold"][i]
        positive = "no lesion" if threshold is None else f"score ≥ {threshold:.3f}"
        text = f"{positive}: sensitivity {tpr[i]:.3f}, specificity {1 - fpr[i]:.3f}"
        drawing.tip_at(axis, fpr[i], tpr[i], text, drawing.SERIES[0])
    axis.legend(loc="lower right", title="AUC (95 % interval)", title_fontsize=7.5)
    return drawn


def by_diameter(levels: Sequence[Mapping[str, Any]]) -> figure.Figure:
    """AUC and accuracy of each diameter group with intervals, and the counts of each group.

    Args:
      levels: of the factor 'diameter' among the subgroups of a SECTION.
    """
    drawn = drawing.new()
    axis = drawn.subplots()
    for shift, name, color in ((-0.12, "auc", 0), (0.12, "accuracy", 1)):
        label = {"auc": "AUC", "accuracy": "accuracy"}[name]
        for i, level in enumerate(levels):
            if level[name] is not None:
                text = f"{level['level']}: {label}"
                _whisker(axis, level[name], text, x=i + shift, color=drawing.SERIES[color])
        axis.plot([], [], "s", ms=4, color=drawing.SERIES[color], label=label)
    for i, level in enumerate(levels):
        if level["lesions"]:
            majority = max(level["positives"], level["negatives"]) / level["lesions"]
            (line,) = axis.plot([i - 0.02, i + 0.26], [majority] * 2, color=drawing.QUIET, lw=1)
            drawing.tip(line, f"{level['level']}: accuracy of the majority label {majority:.3f}")
        if level["auc"] is None:
            axis.text(i - 0.12, 0.5, "too few", rotation=90, ha="center", va="center", fontsize=7)
    axis.plot([], [], color=drawing.QUIET, lw=1, label="majority label")
    texts = [f"{x['level']}\n{x['positives']} +\n{x['negatives']} \N{MINUS SIGN}" for x in levels]
    axis.set_xticks(range(len(levels)), texts)
    axis.axhline(0.5, color=drawing.FAINT, lw=0.8, zorder=0)
    axis.set(xlim=(-0.5, len(levels) - 0.5), ylim=(0, 1.02))
    axis.set_xlabel("largest axial diameter; lesions: + refractory, \N{MINUS SIGN} avid")
    axis.legend(loc="lower left", ncols=3)
    return drawn


def by_size(levels: Sequence[Mapping[str, Any]]) -> figure.Figure:
    """The ROC curve of each diameter group that has one, in one panel, from light to dark.

    Args:
      levels: of the factor 'diameter' among the subgroups of a SECTION.
    """
    drawn = drawing.new(4.1, _BY_SIZE)
    drawn.set_layout_engine("compressed")  # which knows that the panel is a square
    axis = drawn.subplots()
    _unit_square(axis, "1 \N{MINUS SIGN} specificity", "sensitivity")
    shades = mpl.colormaps["viridis_r"](np.linspace(0.12, 1, max(len(levels), 2)))
    for level, shade in zip(levels, shades, strict=False):
        counts = f"{level['positives']} +, {level['negatives']} \N{MINUS SIGN}"
        if level["roc"] is None:
            axis.plot([], [], " ", label=f"{level['level']}: too few ({counts})")
            continue
        label = f"{level['level']}: {estimate(level['auc'])}, {counts}"
        (line,) = axis.plot(level["roc"]["fpr"], level["roc"]["tpr"], color=shade, label=label)
        drawing.tip(line, label)
        rates = level["confusion"]
        false_positive = rates["fp"] / (rates["fp"] + rates["tn"])
        true_positive = rates["tp"] / (rates["tp"] + rates["fn"])
        (dot,) = axis.plot(
            false_positive, true_positive, "o", color=shade, ms=6, mec="white", zorder=3
        )
        text = f"sensitivity {true_positive:.3f}, specificity {1 - false_positive:.3f}"
        drawing.tip(dot, f"{level['level']}: decisions: {text}")
    # Of the axes: beside a legend of the figure, a square would leave no room for its own label.
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="AUC (95 % interval), lesions")
    return drawn


def forest(section: Mapping[str, Any]) -> figure.Figure:
    """AUC of every subgroup with interval and counts, and the P value of each interaction."""
    total = {key: section[f"{key[:-1]}_lesions"] for key in ("positives", "negatives")}
    rows: list[tuple[str, Mapping[str, Any] | None]] = [("all lesions", {**section, **total})]
    for group in section["subgroups"]:
        if len(group["levels"]) < 2:
            continue
        p = p_value(group["interaction"]["p"])
        rows.append((f"{group['factor']}, interaction P {p}", None))
        rows += [(f"   {level['level']}", level) for level in group["levels"]]
    height = 0.2 * len(rows) + 0.8
    drawn = drawing.new(height, _FOREST)
    drawn.set_layout_engine("none")  # it leaves no room for the text on both sides
    axis = drawn.add_axes((0.46, 0.5 / height, 0.34, 0.2 * len(rows) / height))
    text: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "va": "center"}
    axis.text(-0.04, -1, "refractory / avid", ha="right", fontsize=7.5, **text)
    axis.text(1.04, -1, "AUC (95 % interval)", fontsize=7.5, **text)
    for i, (name, figures) in enumerate(rows):
        axis.text(-1.33, i, name, fontsize=8, weight="normal" if figures else "bold", **text)
        if figures is None:
            continue
        counts = f"{figures['positives']} / {figures['negatives']}"
        axis.text(-0.04, i, counts, ha="right", fontsize=8, **text)
        auc = figures["auc"]
        text_of_auc = "too few" if auc is None else estimate(auc)
        axis.text(1.04, i, text_of_auc, fontsize=8, **text)
        if auc is not None and auc["value"] is not None:
            _whisker(axis, auc, f"{name.strip()}: AUC", y=i, color=drawing.SERIES[0])
    axis.axvline(0.5, color=drawing.FAINT, lw=0.8, zorder=0)
    if section["auc"]["value"] is not None:
        axis.axvline(section["auc"]["value"], color=drawing.QUIET, lw=0.8, ls=":", zorder=0)
    axis.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), yticks=[], xlabel="AUC")
    axis.spines["left"].set_visible(False)
    return drawn


def _whisker(
    axis: axes.Axes,
    interval: Mapping[str, Any],
    name: str,
    *,
    color: str,
    x: float | None = None,
    y: float | None = None,
) -> None:
    """A square with its interval, vertical at `x` or horizontal at `y`."""
    ends = [interval["low"], interval["high"]]
    points = ([x, x], ends) if y is None else (ends, [y, y])
    center = ([x], [interval["value"]]) if y is None else ([interval["value"]], [y])
    if None not in ends:
        axis.plot(*points, color=color, lw=1.2)
    (dot,) = axis.plot(*center, "s", ms=4.5, color=color)
    drawing.tip(dot, f"{name} {estimate(interval)}, n = {interval['n']}")


def _unit_square(axis: axes.Axes, x: str, y: str) -> None:
    axis.plot([0, 1], [0, 1], color=drawing.FAINT, lw=0.8, zorder=0)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect="equal")


def _dashes() -> Sequence[Any]:
    return ((0, (1, 1)), (0, (4, 1)), (0, (4, 1, 1, 1)), (0, (2, 2)), "-")

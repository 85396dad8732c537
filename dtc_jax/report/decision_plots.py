"""Plots of clinical use: decision curves, calibration, predictive values, risk and coverage."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import axes, figure

from dtc_jax.report import drawing
from dtc_jax.statistics.formatting import estimate, number

_TIPS = 25


def decision_curve(
    curve: Mapping[str, Any], baselines: Mapping[str, np.ndarray] | None = None
) -> figure.Figure:
    """Net benefit of withholding I-131 by the model's scores, from all and from none.

    Args:
      curve: DECISION_CURVE of `statistics.study`.
      baselines: net benefit by name, one value per threshold of the curve.
    """
    drawn = drawing.new()
    axis = drawn.subplots()
    thresholds = np.asarray(curve["threshold"])
    model, everyone = curve["model"], curve["all"]
    _band(axis, thresholds, model, drawing.SERIES[0])
    for name, values in (baselines or {}).items():
        (line,) = axis.plot(
            thresholds, values, color=drawing.QUIET, lw=1, ls=(0, (3, 1)), label=name
        )
        drawing.tip(line, name)
    axis.plot(thresholds, everyone["value"], color=drawing.QUIET, lw=1.2, label="withheld from all")
    axis.axhline(0, color=drawing.INK, lw=1, label="withheld from none")
    axis.plot(thresholds, model["value"], color=drawing.SERIES[0], label="withheld by the network")
    for i in _spread(len(thresholds)):
        text = (
            f"threshold probability {thresholds[i]:.2f}: net benefit {_with(model, i)}, "
            f"withheld from all {number(everyone['value'][i])}"
        )
        drawing.tip_at(axis, thresholds[i], model["value"][i], text, drawing.SERIES[0])
    best = max(*_finite(model["high"]), everyone["value"][0], 0.05)
    axis.set(
        xlim=(0, 1),
        ylim=(-0.25 * best, 1.08 * best),
        xlabel="threshold probability of RAI-refractory",
        ylabel="net benefit",
    )
    axis.legend(loc="upper right")
    return drawn


def calibration(section: Mapping[str, Any]) -> figure.Figure:
    """Observed against predicted share of refractory lesions, one point per bin."""
    bins = section["calibration"]["reliability"]
    drawn = drawing.new(height=4.1)
    axis = drawn.subplots()
    axis.plot([0, 1], [0, 1], color=drawing.FAINT, lw=0.8, zorder=0, label="ideal")
    for scores in bins:
        observed = scores["observed"]
        axis.plot(
            [scores["score"]] * 2, [observed["low"], observed["high"]], color=drawing.SERIES[0]
        )
        (dot,) = axis.plot(scores["score"], observed["value"], "o", ms=5, color=drawing.SERIES[0])
        drawing.tip(
            dot,
            f"scores {scores['low']:.3f} to {scores['high']:.3f}, mean {scores['score']:.3f}: "
            f"observed {estimate(observed)}, n = {observed['n']}",
        )
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set(xlabel="predicted probability of RAI-refractory", ylabel="observed share")
    return drawn


def prevalence(section: Mapping[str, Any]) -> figure.Figure:
    """PPV and NPV of the decisions at other prevalences."""
    values = section["calibration"]["prevalence"]
    drawn = drawing.new()
    axis = drawn.subplots()
    shares = np.asarray(values["prevalence"])
    for name, color in (("ppv", drawing.SERIES[1]), ("npv", drawing.SERIES[0])):
        _band(axis, shares, values[name], color)
        axis.plot(shares, values[name]["value"], color=color, label=name.upper())
        for i in _spread(len(shares)):
            if values[name]["value"][i] is not None:
                text = f"prevalence {shares[i]:.2f}: {name.upper()} {_with(values[name], i)}"
                drawing.tip_at(axis, shares[i], values[name]["value"][i], text, color)
    observed = section["prevalence"]
    label = f"observed {observed:.2f}"
    axis.axvline(observed, color=drawing.QUIET, lw=0.8, ls=":", label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="prevalence of RAI-refractory", ylabel="PPV, NPV")
    axis.legend(loc="lower center", ncols=3)
    return drawn


def risk_coverage(section: Mapping[str, Any]) -> figure.Figure:
    """The share of wrong decisions if only the most certain lesions are decided."""
    curve = section["abstention"]["risk_coverage"]
    drawn = drawing.new()
    axis = drawn.subplots()
    coverage, error = np.asarray(curve["coverage"]), curve["error"]
    _band(axis, coverage, error, drawing.SERIES[0])
    axis.plot(coverage, error["value"], color=drawing.SERIES[0], label="network")
    majority_error = min(section["prevalence"], 1 - section["prevalence"])
    (line,) = axis.plot(
        [0, 1], [majority_error] * 2, color=drawing.QUIET, lw=1, label="majority label"
    )
    drawing.tip(line, f"majority label: wrong {majority_error:.3f}")
    for i in _spread(len(coverage)):
        if error["value"][i] is not None:
            text = (
                f"{coverage[i]:.0%} of the lesions decided: wrong {_with(error, i)}, sensitivity "
                f"{number(curve['sensitivity'][i])}, specificity "
                f"{number(curve['specificity'][i])}"
            )
            drawing.tip_at(axis, coverage[i], error["value"][i], text, drawing.SERIES[0])
    top = max(*_finite(error["high"]), 1.2 * majority_error, 0.05)
    axis.set(xlim=(0, 1.01), ylim=(0, 1.05 * top))
    axis.legend(loc="upper right")
    axis.set(
        xlabel="share of lesions decided, most certain first", ylabel="share of wrong decisions"
    )
    return drawn


def _band(axis: axes.Axes, x: np.ndarray, band: Mapping[str, Any], color: str) -> None:
    low, high = (np.array(band[end], dtype=np.float64) for end in ("low", "high"))
    axis.fill_between(x, low, high, color=color, alpha=0.18, lw=0)


def _spread(length: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, _TIPS).astype(int)).tolist()


def _with(band: Mapping[str, Any], i: int) -> str:
    """The i-th value of a band with its interval."""
    return estimate({key: band[key][i] for key in ("value", "low", "high")})


def _finite(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None] or [0.0]

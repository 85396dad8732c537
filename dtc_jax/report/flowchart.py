"""The flowchart of a cohort: who was included, who was excluded and why, and the split."""

import dataclasses
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib import axes, figure, patches

from dtc_jax.report import drawing
from dtc_jax.statistics import formatting, predictions_table

_LINE, _PAD, _GAP = 0.14, 0.09, 0.2  # inches: a line of text, the margin of a box, between boxes
_WIDTH, _MARGIN = 4.3, 0.05  # inches
_BOX = 1.95  # inches: width of a box
_CHARACTERS = 15.5  # per inch of a line
_BULLET = "\N{BULLET}"


@dataclasses.dataclass(frozen=True)
class _Box:
    text: str
    aside: bool = False  # beside the main line: an exclusion


def draw(steps: Sequence[Mapping[str, Any]], lesions: pd.DataFrame) -> figure.Figure:
    """The chart of one cohort.

    Args:
      steps: of the flow: reason, lesions, patients and kind ('count', 'excluded' or 'note'), as a
        run's metrics.json has them; empty if there is only a table of predictions.
      lesions: rows of the cohort's predictions: split, fold, patient_id, lesion_id and label.
    """
    boxes = _boxes(steps) or [_Box(f"in the table of predictions: {_described(lesions)}")]
    texts = [_wrap(box.text, _BOX) for box in boxes]
    parts = _parts(lesions)
    width = (_WIDTH - 2 * _MARGIN - (len(parts) - 1) * _GAP / 2) / len(parts)
    width = width if len(parts) > 1 else _BOX
    parts_text = [_wrap(part, width) for part in parts]
    parts_height = max(_height(text) for text in parts_text)
    height = sum(_height(text) + _GAP for text in texts) + _GAP * 1.5 + parts_height
    drawn = drawing.new(height, _WIDTH)
    drawn.set_layout_engine("none")
    axis = drawn.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, _WIDTH), ylim=(0, height))
    axis.set_axis_off()
    spine, below, top = _MARGIN + _BOX / 2, height, height - _GAP / 2
    for box, text in zip(boxes, texts, strict=True):
        tall = _height(text)
        if box.aside:
            left = _WIDTH - _MARGIN - _BOX
            _arrow(axis, (spine, top - tall / 2), (left, top - tall / 2))
        else:
            left = _MARGIN
            if below < height:
                _arrow(axis, (spine, below), (spine, top))
            below = top - tall
        _box(axis, (left, top - tall), _BOX, tall, text)
        top -= tall + _GAP
    for i, text in enumerate(parts_text):
        left = _MARGIN + i * (width + _GAP / 2)
        _arrow(axis, (spine, below), (left + width / 2, parts_height + _GAP / 2))
        _box(axis, (left, _GAP / 2), width, parts_height, text)
    return drawn


def _boxes(steps: Sequence[Mapping[str, Any]]) -> list[_Box]:
    """One box per count, and one for all exclusions before the next count."""
    nonempty = [step for step in steps if step["kind"] != "note" and step["lesions"]]
    boxes = []
    for kind, group in itertools.groupby(nonempty, key=lambda step: step["kind"]):
        if kind == "excluded":
            excluded = list(group)
            lesions, patients = (
                sum(step[unit] for step in excluded) for unit in ("lesions", "patients")
            )
            text = f"excluded {formatting.count(lesions, 'lesion')}"
            if patients:
                text += f", including all lesions of {formatting.count(patients, 'patient')}"
            reasons = [f"{_BULLET} {step['lesions']} {step['reason']}" for step in excluded]
            text = "\n".join([text, *reasons])
            boxes.append(_Box(text, aside=True))
        else:
            boxes += [
                _Box(
                    f"{formatting.count(step['lesions'], 'lesion')} of "
                    f"{formatting.count(step['patients'], 'patient')} {step['reason']}"
                )
                for step in group
            ]
    return boxes


def _parts(lesions: pd.DataFrame) -> list[str]:
    """The last row of boxes: the splits, or the folds in which every lesion was tested."""
    if lesions.fold.nunique() > 1:
        test = lesions[lesions.split == "test"]
        return [
            f"{lesions.fold.nunique()} folds, each lesion tested by a network that has not seen "
            f"its fold: {_described(test)}"
        ]
    names = [name for name in predictions_table.SPLITS if (lesions.split == name).any()]
    return [f"{name}\n{_described(lesions[lesions.split == name])}" for name in names]


def _described(rows: pd.DataFrame) -> str:
    lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
    refractory, avid = (int((lesions.label == value).sum()) for value in (1, 0))
    patients = formatting.count(rows.patient_id.nunique(), "patient")
    counts = f"{formatting.count(len(lesions), 'lesion')} of {patients}"
    return f"{counts}\n{refractory} refractory\n{avid} avid"


def _wrap(text: str, width: float) -> list[str]:
    return [
        line
        for part in text.split("\n")
        for line in textwrap.wrap(
            part,
            int(width * _CHARACTERS),
            subsequent_indent="  " if part.startswith(_BULLET) else "",
        )
    ]


def _height(text: Sequence[str]) -> float:
    return _LINE * len(text) + 2 * _PAD


def _box(
    axis: axes.Axes,
    corner: tuple[float, float],
    width: float,
    height: float,
    text: Sequence[str],
) -> None:
    frame = patches.Rectangle(corner, width, height, fc="white", ec=drawing.QUIET, lw=0.8, zorder=2)
    axis.add_patch(frame)
    start = corner[0] + _PAD, corner[1] + height / 2
    axis.text(*start, "\n".join(text), va="center", fontsize=7.5, linespacing=1.3, zorder=3)


def _arrow(axis: axes.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "color": drawing.QUIET, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=look, zorder=1)

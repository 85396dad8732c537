"""The style of the report's figures, and saving them as PNG and as SVG with tooltips."""

import io
import pathlib
import re
from typing import Any

import matplotlib as mpl
from matplotlib import artist, axes, figure
from matplotlib.backends import backend_agg, backend_svg

from dtc_jax import storage

# The palette of Okabe and Ito, which the colour-blind can distinguish.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
INK, QUIET, FAINT = "#222222", "#767676", "#dddddd"
CLASSES = {1: ("refractory", "#d55e00"), 0: ("avid", "#0072b2")}

_STYLE: Any = {
    "font.size": 8.5,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "axes.titlesize": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "svg.fonttype": "none",  # text can be searched and read aloud
    "svg.hashsalt": "dtc-jax",  # the same figure gives the same file
}
_WIDTH = 4.3  # inches, about the column of a journal; legible on a phone
DPI = 200
_TIP = "tip:"


def style() -> Any:
    """The context in which figures are drawn and saved."""
    return mpl.rc_context(_STYLE)


def new(height: float = 3.5, width: float = _WIDTH) -> figure.Figure:
    """An empty figure, sizes in inches; it uses neither a window nor pyplot's global state."""
    return figure.Figure(figsize=(width, height), layout="constrained")


def tip(drawn: artist.Artist, text: str) -> None:
    """Shows `text` when the pointer is on `drawn` in the SVG."""
    drawn.set_gid(_TIP + text)


def tip_at(axis: axes.Axes, x: float, y: float, text: str, color: str = INK) -> None:
    """Shows `text` and a dot when the pointer is near the point (x, y)."""
    (dot,) = axis.plot([x], [y], "o", color=color, markersize=9, markeredgewidth=0, alpha=0)
    tip(dot, text)


def save(drawn: figure.Figure, path: pathlib.Path) -> str:
    """Writes `path`.png and `path`.svg.

    Returns:
      The SVG for a page; its ids begin with the name of the file, so that they are unique there.
    """
    # By the canvases, as `savefig` goes through the whole figure once more before it draws it.
    with storage.atomic(path.with_name(f"{path.name}.png")) as partial:
        dpi = drawn.dpi
        drawn.set_dpi(DPI)
        backend_agg.FigureCanvasAgg(drawn).print_png(partial, metadata={"Software": None})
        drawn.set_dpi(dpi)
    drawn.set_layout_engine("none")  # the layout is the same in both files
    text = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    backend_svg.FigureCanvasSVG(drawn).print_svg(text, metadata=metadata)
    svg = re.sub(rf'<g id="{_TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', text.getvalue())
    storage.write_text(path.with_name(f"{path.name}.svg"), svg)
    inline = svg[svg.index("<svg") :]
    inline = re.sub(r"<metadata>.*?</metadata>", "", inline, flags=re.DOTALL)
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{path.name}-", inline)

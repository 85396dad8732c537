"""Figures of segmented slices: outlines of the prediction and of the reference."""

from collections.abc import Sequence

import numpy as np
from matplotlib import axes, figure, lines

from dtc_jax.imaging.outlined import Outlined
from dtc_jax.report import drawing

_COLUMNS = 3  # pictures in a row
_SIDE = 2.1  # inches, of a picture
_WINDOW_HU = (-1000.0, 400.0)
_FOUND, _TRUE = drawing.SERIES[5], drawing.SERIES[4]  # distinguishable on any grey


def outlines(slices: Sequence[Outlined], side: float = _SIDE) -> figure.Figure:
    """The slices side by side in radiological convention: the patient's right is on the left.

    Args:
      slices: at least one.
      side: of a picture, in inches.
    """
    columns = min(_COLUMNS, len(slices))
    rows = -(-len(slices) // columns)
    drawn = drawing.new(height=rows * side + 0.4, width=columns * side)
    panels = np.ravel(drawn.subplots(rows, columns, squeeze=False))
    for axis, outlined in zip(panels, slices, strict=False):
        _show(axis, outlined)
    for axis in drawn.axes[len(slices) :]:
        axis.remove()
    legend = [
        lines.Line2D([], [], color=color, lw=1.6, label=name)
        for name, color in (("reference", _TRUE), ("found", _FOUND))
    ]
    drawn.legend(handles=legend, loc="outside lower center", ncols=2)
    return drawn


def _show(axis: axes.Axes, outlined: Outlined) -> None:
    height, width = (n * side for n, side in zip(outlined.hu.shape, outlined.pixel_mm, strict=True))
    extent, (low, high) = (0.0, width, 0.0, height), _WINDOW_HU
    axis.imshow(outlined.hu, cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower")
    for mask, color in ((outlined.true, _TRUE), (outlined.found, _FOUND)):
        if mask.any():
            y, x = (
                (np.arange(n) + 0.5) * side
                for n, side in zip(mask.shape, outlined.pixel_mm, strict=True)
            )
            axis.contour(x, y, mask.astype(float), levels=[0.5], colors=[color], linewidths=1.0)
    axis.invert_xaxis()  # the arrays begin on the patient's left
    axis.set_title(outlined.title)
    axis.set_axis_off()

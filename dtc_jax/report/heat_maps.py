"""Chapter on where the network looks: example lesions in three views, with their heat maps."""

import numpy as np
from matplotlib import axes, cm, colors, figure

from dtc_jax.report import drawing, page
from dtc_jax.report.example import Example
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics.formatting import number

_VIEWS = (("axial", 0), ("coronal", 1), ("sagittal", 2))  # and the axis across each
_HEAT = "autumn"  # its low end, too, is seen on dark lung
_OPAQUE = 0.65  # of the hottest place: the CT below is still seen
_OUTLINE = drawing.SERIES[4]  # seen on any grey, and on the heat
_TEXT = (
    "Of each class, the test lesions with the most certain right and the most certain wrong "
    "decision: CT with the outline of the lesion through its middle, and below it the heat map "
    "(Grad-CAM) of the networks that classified it. Heat is what a region adds to the logit of "
    "refractory; evidence for avid is not shown. All maps of a run share one scale."
)
_SIDES = (
    "The patient's right is on the left of axial and coronal views, the front on the left of "
    "sagittal ones."
)


def heat_maps(run: ReportRun) -> page.Section:
    """The example lesions; empty where the networks of the run were not at hand."""
    shown = run.artefacts.examples
    if not shown:
        return page.Section("Where the network looks")
    hottest = max(float(example.heat.max()) for example in shown)
    figures = [
        run.output.figure(_file(example), picture(example, hottest), _caption(example))
        for example in shown
    ]
    source = (run.artefacts.config or {}).get("data", {}).get("source")
    text = _TEXT if source == "medmnist3d" else f"{_TEXT} {_SIDES}"
    return page.Section("Where the network looks", text=[text], figures=figures)


def picture(example: Example, hottest: float) -> figure.Figure:
    """CT with the outline, and below it with the heat map, in three views.

    Args:
      example: the lesion.
      hottest: in units of the logit, the end of the colour scale.
    """
    middle = [(n - 1) // 2 for n in example.image.shape]  # of the lesion's bounding box
    scale = colors.Normalize(0.0, hottest or 1.0)
    drawn = drawing.new(height=2.6)
    panels = drawn.subplots(2, len(_VIEWS))
    for column, (name, across) in enumerate(_VIEWS):
        image, mask, heat = (
            np.take(array, middle[across], axis=across)
            for array in (example.image, example.mask, example.heat)
        )
        for axis in panels[:, column]:
            _show(axis, image, mask, example.window)
        height, width = heat.shape
        panels[1, column].imshow(
            heat,
            cmap=_HEAT,
            norm=scale,
            alpha=_OPAQUE * np.asarray(scale(heat)).clip(0, 1),
            extent=(0, width, 0, height),
            origin="lower",
        )
        panels[0, column].set_title(name)
        for axis in panels[:, column]:
            axis.invert_xaxis()  # the arrays begin on the patient's left, and at the back
    bar = drawn.colorbar(cm.ScalarMappable(scale, _HEAT), ax=panels, shrink=0.8, pad=0.02)
    bar.set_label("added to the logit")
    return drawn


def _show(
    axis: axes.Axes, image: np.ndarray, mask: np.ndarray, window: tuple[float, float]
) -> None:
    height, width = image.shape  # mm, as the grid is at 1 mm
    extent, (low, high) = (0, width, 0, height), window
    axis.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower")
    if mask.any():
        y, x = (np.arange(n) + 0.5 for n in mask.shape)
        axis.contour(x, y, mask.astype(float), levels=[0.5], colors=[_OUTLINE], linewidths=0.8)
    axis.set_axis_off()


def _class(example: Example) -> str:
    return drawing.CLASSES[example.label][0]


def _file(example: Example) -> str:
    return f"heat-{_class(example)}-{'right' if example.is_right else 'wrong'}"


def _caption(example: Example) -> str:
    kind = "Most certain right" if example.is_right else "Most certain wrong"
    return (
        f"{kind} decision on a lesion that is {_class(example)}: lesion {example.lesion_id}, "
        f"{example.cohort}, probability of refractory {number(example.score)}, threshold "
        f"{number(example.threshold)}."
    )

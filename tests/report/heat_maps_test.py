"""The example lesions of a report: what is shown of them, and that they name no patient."""

import dataclasses
import re

import numpy as np

from dtc_jax.report import heat_maps


def test_each_example_has_its_figure_and_its_decision(report):
    html = (report / "report.html").read_text()
    chapter = html[html.index('id="where-the-network-looks"') :].partition("</section>")[0]
    assert chapter.count("<svg") == 2
    assert "Most certain right decision on a lesion that is refractory: lesion L41-0" in chapter
    assert "Most certain wrong decision on a lesion that is avid: lesion L42-0, primary" in chapter
    assert "probability of refractory 0.800, threshold 0.500" in chapter
    for name in ("heat-refractory-right", "heat-avid-wrong"):
        assert (report / "figures" / f"{name}.png").is_file()


def test_no_patient_is_named(report, predictions):
    assert set(predictions.patient_id.str.fullmatch(r"P\d\d")) == {True}
    for path in filter(lambda path: path.is_file(), report.rglob("*")):
        text = path.read_bytes().decode(errors="ignore")
        if path.suffix != ".png":
            pictures = r"data:image/png;base64,[^\"]*"
            assert not re.findall(r"\bP\d\d\b", re.sub(pictures, "", text)), path.name
        if path.name.startswith("heat-"):
            assert not re.findall(r"L4[12]", text), path.name


def test_the_views_are_turned_as_radiologists_see_them(examples):
    drawn = heat_maps.picture(examples[0], 2.0)
    titles = [axis.get_title() for axis in drawn.axes[:3]]
    assert titles == ["axial", "coronal", "sagittal"]
    shapes = [(11, 13), (9, 13), (9, 11)]
    for axis, shape in zip(drawn.axes[:6], 2 * shapes, strict=True):
        shown = axis.images[0].get_array()
        assert shown.shape == shape
        assert shown[-1, -1] == 50.0  # head or front, and right or front
        assert axis.images[0].origin == "lower"  # so that is at the top
        assert axis.xaxis_inverted()  # and on the left
    assert [len(axis.images) for axis in drawn.axes[3:6]] == [2, 2, 2]


def test_a_run_without_any_heat_is_drawn(examples):
    cold = dataclasses.replace(examples[1], heat=np.zeros((9, 11, 13), np.float32))
    assert heat_maps.picture(cold, 0.0).axes[3].images[1].get_alpha().max() == 0

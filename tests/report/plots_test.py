import html
import re

import numpy as np
import pandas as pd
import pytest

from dtc_jax.report import cohort_plots, decision_plots, drawing, roc_plots
from dtc_jax.statistics import formatting


@pytest.fixture(autouse=True)
def style():
    with drawing.style():
        yield


def tips(drawn, tmp_path) -> list[str]:
    svg = drawing.save(drawn, tmp_path / "figure")
    return [html.unescape(text) for text in re.findall(r"<title>(.*?)</title>", svg)]


def words(tmp_path) -> str:
    return " ".join(re.findall(r">([^<>]+)</text>", (tmp_path / "figure.svg").read_text()))


def test_roc_answers_with_the_rates_at_the_threshold(statistics, predictions, tmp_path):
    section = statistics["runs"]["net"]["external"]["test"]
    found = tips(roc_plots.roc(section, {}), tmp_path)
    told = [re.fullmatch(r"score ≥ (\S+): sensitivity (\S+), specificity (\S+)", t) for t in found]
    told = [match for match in told if match]
    assert len(told) > 10
    test = predictions[predictions.cohort == "external"]
    for match in told:
        threshold, sensitivity, specificity = map(float, match.groups())
        above = test.score >= threshold - 5e-4
        assert above[test.label == 1].mean() == pytest.approx(sensitivity, abs=0.06)
        assert 1 - above[test.label == 0].mean() == pytest.approx(specificity, abs=0.06)
    assert any(text.startswith("decisions: sensitivity") for text in found)


def test_a_group_with_few_lesions_has_no_figure(statistics, tmp_path):
    section = statistics["runs"]["net"]["external"]["test"]
    (group,) = [g for g in section["subgroups"] if g["factor"] == "diameter"]
    few = [level for level in group["levels"] if level["auc"] is None]
    found = tips(roc_plots.by_diameter(group["levels"]), tmp_path)
    assert words(tmp_path).count("too few") == len(few) > 0
    assert sum("AUC" in text for text in found) == len(group["levels"]) - len(few)
    tips(roc_plots.forest(section), tmp_path)
    assert words(tmp_path).count("too few") >= len(few)


def test_decision_curve_and_calibration_answer_with_their_values(statistics, tmp_path):
    section = statistics["runs"]["net"]["primary"]["test"]
    curve = section["decision_curve"]
    found = tips(decision_plots.decision_curve(curve), tmp_path)
    at = [round(value, 2) for value in curve["threshold"]]
    told = [re.match(r"threshold probability (\S+): net benefit (\S+)", text) for text in found]
    assert len([match for match in told if match]) > 10
    for match in filter(None, told):
        value = curve["model"]["value"][at.index(float(match[1]))]
        assert match[2] == formatting.number(value)
    found = tips(decision_plots.calibration(section), tmp_path)
    assert len(found) == len(section["calibration"]["reliability"])
    first = section["calibration"]["reliability"][0]["observed"]
    assert f"observed {formatting.estimate(first)}, n = {first['n']}" in found[0]


def test_diameters_are_counted_by_millimetre_and_none_is_lost(tmp_path):
    rng = np.random.default_rng(0)
    lesions = pd.DataFrame({"diameter_mm": rng.gamma(4, 2, 200), "label": np.arange(200) % 2})
    lesions.loc[0, "diameter_mm"] = 90.0
    found = tips(cohort_plots.diameters(lesions), tmp_path)
    counts = [int(re.search(r": (\d+)", text).group(1)) for text in found]
    assert sum(counts) == 200
    assert sum("or more" in text for text in found) >= 1


def test_the_same_figure_is_the_same_file(statistics, tmp_path):
    section = statistics["runs"]["net"]["primary"]["test"]
    for name in "ab":
        drawing.save(roc_plots.roc(section, {}), tmp_path / name / "roc")
    for suffix in ("svg", "png"):
        first, second = (tmp_path / name / f"roc.{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"value": 0.8794, "low": 0.852, "high": 0.906}, "0.879 (0.852–0.906)"),
        ({"value": -0.02, "low": -0.1, "high": 0.06}, "−0.020 (−0.100 to 0.060)"),
        ({"value": 0.5, "low": None, "high": None}, "0.500"),
        ({"value": None, "low": None, "high": None}, "n/a"),
        (None, "n/a"),
    ],
)
def test_estimates_are_written_with_their_interval(value, expected):
    assert formatting.estimate(value) == expected


def test_small_p_values_are_not_written_as_zero():
    assert formatting.p_value(0.0004) == "< 0.001"
    assert formatting.p_value(0.0341) == "0.034"
    assert formatting.p_value(None) == "n/a"


def test_the_curves_of_all_size_groups_are_in_one_panel(statistics, tmp_path):
    section = statistics["runs"]["net"]["external"]["test"]
    (group,) = [g for g in section["subgroups"] if g["factor"] == "diameter"]
    enough = [level for level in group["levels"] if level["auc"] is not None]
    found = tips(roc_plots.by_size(group["levels"]), tmp_path)
    assert len(found) == 2 * len(enough) > 0  # a curve and its operating point
    text = words(tmp_path)
    for level in group["levels"]:
        assert level["level"] in text
    assert text.count("too few") == len(group["levels"]) - len(enough)


def test_nothing_of_the_panel_of_size_groups_is_cut_off(statistics):
    section = statistics["runs"]["net"]["external"]["test"]
    (group,) = [g for g in section["subgroups"] if g["factor"] == "diameter"]
    with drawing.style():
        drawn = roc_plots.by_size(group["levels"])
        drawn.draw_without_rendering()
        (axis,) = drawn.axes
        for part in (axis.yaxis.label, axis.xaxis.label, axis.get_legend()):
            box = part.get_window_extent()
            assert drawn.bbox.x0 <= box.x0 < box.x1 <= drawn.bbox.x1, part
            assert drawn.bbox.y0 <= box.y0 < box.y1 <= drawn.bbox.y1, part

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.report import decision_curves, performance, roc_plots, study_report
from dtc_jax.report.report_run import Artefacts, OutputFolder, ReportRun
from dtc_jax.statistics import formatting, roc, subgroups
from dtc_jax.statistics.study import Settings, study


def test_the_page_needs_no_other_file_and_no_network(report):
    html = (report / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!#|data:image/png;base64,)[^"]*"', html)
    assert not re.findall(r"url\((?!#)[^)]*\)|@import", html)
    assert set(re.findall(r"https?://[^\"\s<]*", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_ids_of_the_page_are_unique_and_what_is_referred_to_is_there(report):
    html = (report / "report.html").read_text()
    used = re.findall(r'(?:href="|url\()#([^")]+)', html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert set(used) <= set(ids)
    twice = {name for name in ids if ids.count(name) > 1}
    assert not {name for name in twice if not re.search(r"-m[0-9a-f]{10}$", name)}  # equal markers


def test_every_figure_is_there_as_svg_png_and_on_the_page(report):
    html = (report / "report.html").read_text()
    svg = {path.stem for path in (report / "figures").glob("*.svg")}
    assert svg == {path.stem for path in (report / "figures").glob("*.png")}
    for cohort in ("primary", "external"):
        for name in ("roc", "diameter", "forest", "decision-curve", "calibration", "prevalence"):
            assert f"{cohort}-{name}" in svg
        assert f"{cohort}-roc-by-diameter" in svg
        for name in ("patients", "abstention", "flowchart", "diameters"):
            assert f"{cohort}-{name}" in svg
    assert "training-loss" in svg
    assert html.count("<svg") == len(svg)


def test_the_headline_is_the_clustered_auc_with_its_counts(report, predictions):
    test = predictions[(predictions.split == "test") & (predictions.cohort == "primary")]
    auc = roc.auc_interval(test.label, test.score, test.patient_id)
    html = (report / "report.html").read_text()
    headline = html[html.index('class="headline"') :]
    assert f"<strong>{auc.value:.3f}</strong> ({auc.low:.3f}–{auc.high:.3f})" in headline
    assert (
        f"{len(test)} lesions of {test.patient_id.nunique()} patients, "
        f"{int(test.label.sum())} refractory" in headline
    )


def test_a_baseline_that_lacks_lesions_is_compared_on_those_that_it_scores(
    tmp_path, predictions, statistics, artefacts
):
    test = predictions[(predictions.cohort == "primary") & (predictions.split == "test")]
    scored = test.groupby("label").head(5).index
    best = predictions.assign(run="age_sex_diameter")  # the very scores of the network
    best.loc[predictions.index.difference(scored), ["score", "decision"]] = np.nan
    both = Artefacts(baselines=pd.concat([artefacts.baselines, best], ignore_index=True))
    output = OutputFolder(tmp_path)
    run = ReportRun("net", predictions, statistics["runs"]["net"], both, output)
    run = dataclasses.replace(run, sections={"primary": run.sections["primary"]})
    assert next(iter(run.baselines("primary"))) == "age_sex_diameter"
    area = roc.auc(*test.loc[scored, ["label", "score"]].to_numpy().T)
    (headline,) = performance.headlines(run, named=False)
    told = f"On the 10 lesions that both scored: AUC {area:.3f} and {area:.3f}; network"
    assert told in headline.sentences[-1]
    (drawn,) = decision_curves.lesions(run).figures
    # Another prevalence has another net benefit, so the next baseline is drawn.
    assert "withheld by the baseline diameter" in drawn.svg
    assert "age_sex_diameter" not in drawn.svg


def test_the_performance_table_has_the_baselines_and_the_integer_counts(report, predictions):
    table = pd.read_csv(report / "tables/performance.csv").set_index(["cohort", "split", "by"])
    assert {("primary", "test", "diameter"), ("external", "test", "network")} <= set(table.index)
    row = table.loc[("external", "test", "network")]
    test = predictions[predictions.cohort == "external"]
    assert ((test.label == 1) & (test.decision == 1)).sum() == row.TP
    assert ((test.label == 0) & (test.decision == 1)).sum() == row.FP
    assert row[["TP", "FN", "TN", "FP"]].sum() == len(test)


def test_lesions_that_several_folds_scored_count_once(tmp_path, predictions):
    test = predictions[(predictions.cohort == "external") & (predictions.split == "test")]
    folds = pd.concat([test.assign(fold=fold) for fold in range(3)], ignore_index=True)
    sections = study(folds, Settings(resamples=200))["runs"]["net"]
    run = ReportRun("net", folds, sections, Artefacts(), OutputFolder(tmp_path))
    refractory = int(test.label.sum())
    avid = len(test) - refractory
    (headline,) = performance.headlines(run, named=False)
    said = f"{refractory} refractory and {avid} avid, {3 * len(test)} predictions."
    assert headline.sentences[0].startswith(f"{len(test)} lesions of 20 patients, ")
    assert headline.sentences[0].endswith(said)
    row = performance.table_2(run).rows.iloc[0]
    assert row.lesions == f"{refractory} + {avid}, {3 * len(test)} predictions"
    assert int(row.TP) + int(row.FN) == 3 * refractory


def test_statistics_are_written_as_they_are(report, statistics):
    assert json.loads((report / "statistics.json").read_text()) == json.loads(
        json.dumps(statistics)
    )


def test_what_users_wrote_is_escaped_and_seen_first(report):
    html = (report / "report.html").read_text()
    assert "<li>phantom &lt;cohort&gt;</li>" in html
    assert html.index("phantom &lt;cohort&gt;") < html.index('class="headline"')


def test_a_table_alone_is_enough(tmp_path, predictions):
    rows = predictions[predictions.split == "test"][["patient_id", "lesion_id", "label", "score"]]
    rows = rows.assign(run="theirs", cohort="primary", split="test", fold=0)
    rows = rows.assign(threshold=0.5, threshold_source="given", decision=(rows.score >= 0.5) * 1.0)
    study_report.write(rows, study(rows, Settings(resamples=200)), {}, tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "Best baseline" not in html
    assert 'id="training"' not in html
    assert "where-the-network-looks" not in html  # there is none that could be asked
    chart = (tmp_path / "figures/primary-flowchart.svg").read_text()
    assert "in the table of predictions:" in " ".join(re.findall(r">([^<>]+)</text>", chart))


def _files(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_that_fails_leaves_nothing(tmp_path, predictions, statistics, monkeypatch):
    def fail(run):
        raise RuntimeError("in the last chapter")

    monkeypatch.setattr(study_report, "_CHAPTERS", (performance.discrimination, fail))
    own = tmp_path / "own"
    (own / "figures").mkdir(parents=True)
    (own / "figures/mine.svg").write_text("mine")
    (own / "report.html").write_text("an earlier one")
    before = _files(own)
    for folder in (own, tmp_path / "new"):
        with pytest.raises(RuntimeError, match="in the last chapter"):
            study_report.write(predictions, statistics, {}, folder)
    assert _files(own) == before
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_a_report_is_written_into_a_folder_whose_other_files_stay(
    tmp_path, predictions, statistics, monkeypatch
):
    monkeypatch.setattr(study_report, "_CHAPTERS", (performance.discrimination,))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/mine.svg").write_text("mine")
    (tmp_path / "report.html").write_text("an earlier one")
    page = study_report.write(predictions, statistics, {}, tmp_path)
    assert page == tmp_path / "report.html"
    assert "an earlier one" not in page.read_text()
    assert (tmp_path / "figures/mine.svg").read_text() == "mine"
    assert (tmp_path / "figures/primary-roc.svg").exists()
    assert (tmp_path / "tables/performance.csv").exists()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"figures", "tables", "report.html", "statistics.json"}


def test_what_is_in_the_way_of_a_report_is_named(tmp_path, predictions, statistics, monkeypatch):
    monkeypatch.setattr(study_report, "_CHAPTERS", (performance.discrimination,))
    (tmp_path / "tables").write_text("a file")
    before = _files(tmp_path)
    with pytest.raises(InputError, match=r"tables/.*\.csv: cannot be written"):
        study_report.write(predictions, statistics, {}, tmp_path)
    assert _files(tmp_path) == before


@pytest.mark.extras
def test_one_class_is_said_to_have_no_auc(tmp_path, predictions):
    rows = predictions[(predictions.split == "test") & (predictions.label == 1)]
    study_report.write(rows, study(rows, Settings(resamples=200)), {}, tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert f"<strong>{formatting.MISSING}</strong>" in html
    assert not (tmp_path / "figures/primary-roc.svg").exists()


@pytest.mark.extras
def test_two_runs_have_their_own_chapters_files_and_a_comparison(tmp_path, make_predictions):
    both = pd.concat([make_predictions("a"), make_predictions("b")], ignore_index=True)
    both = both[(both.split == "test") & (both.cohort == "primary")]
    both.loc[both.run == "b", "score"] = 1 - both.score
    both["decision"] = (both.score >= both.threshold).astype(float)
    study_report.write(both, study(both, Settings(resamples=200)), {}, tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "Discrimination: a" in html
    assert "Discrimination: b" in html
    assert (tmp_path / "figures/b-primary-roc.svg").exists()
    compared = pd.read_csv(tmp_path / "tables/comparisons.csv")
    assert compared.kind.tolist() == ["paired"]
    first, second = map(float, compared.AUCs[0].split(", "))
    assert first + second == pytest.approx(1, abs=0.0011)


@pytest.mark.extras
def test_what_holds_for_one_of_two_runs_names_it(tmp_path, make_predictions):
    both = pd.concat([make_predictions("one"), make_predictions("two")], ignore_index=True)
    both = both[(both.split == "test") & (both.cohort == "primary")]
    found = study(both, Settings(resamples=200))
    own = {"one": ["of both", "its own"], "two": ["of both", "another"]}
    artefacts = {run: Artefacts(metrics={"notes": notes}) for run, notes in own.items()}
    html = study_report.write(both, found, artefacts, tmp_path / "report").read_text()
    notes = re.findall(r"<li>(.*(?:of both|its own|another))</li>", html)
    assert notes == ["of both", "one: its own", "two: another"]


def test_a_curve_without_a_band_is_drawn_all_the_same(statistics):
    """Above 200 000 lesions the bootstrap is left out."""
    run = next(iter(statistics["runs"].values()))
    found = json.loads(json.dumps(next(iter(run.values()))["test"]))
    for end in ("low", "high"):
        found["roc"]["band"][end] = [None] * len(found["roc"]["band"]["fpr"])
    (axis,) = roc_plots.roc(found, {}).axes
    assert len(axis.lines) > 1


def test_the_table_by_diameter_has_all_seven_groups_with_n(report, predictions):
    table = pd.read_csv(report / "tables/performance-by-diameter.csv").set_index("cohort")
    for cohort, rows in predictions[predictions.split == "test"].groupby("cohort"):
        of_cohort = table.loc[cohort].set_index("diameter")
        assert of_cohort.index.tolist() == list(subgroups.DIAMETERS)
        counts = of_cohort[["TP", "FN", "TN", "FP"]].to_numpy()
        assert counts.sum() == len(rows)
        for _, row in of_cohort.iterrows():
            n = row.TP + row.FN
            assert row.sensitivity.endswith(f"n {n}") if n >= 5 else row.sensitivity == "too few"

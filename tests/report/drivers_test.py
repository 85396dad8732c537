"""The chapter on what the score follows: its tables, and what it says where little is known."""

import pandas as pd

from dtc_jax.report import drivers
from dtc_jax.report.report_run import OutputFolder, ReportRun
from dtc_jax.statistics import roc
from dtc_jax.statistics.formatting import number


def _table(report, name):
    return pd.read_csv(report / "tables" / f"{name}.csv", dtype=str)


def test_size_is_compared_for_the_network_and_the_baselines(report, predictions):
    table = _table(report, "score-and-size").set_index(["cohort", "by"])
    assert {by for _, by in table.index} == {"network", "diameter"}
    test = predictions[(predictions.split == "test") & predictions.score.notna()]
    for cohort in test.cohort.unique():
        rows = test[(test.cohort == cohort) & test.label.notna() & test.diameter_mm.notna()]
        expected = number(roc.auc(rows.label, rows.score))
        assert table.loc[(cohort, "network"), "AUC"] == expected
    html = (report / "report.html").read_text()
    assert 'id="what-the-score-follows"' in html


def test_known_values_and_occlusions_have_their_rows(report):
    beyond = _table(report, "score-beyond-size")
    assert {"age"} <= set(beyond.of)
    assert not {"diameter_mm", "label", "fold", "volume_mm3", "center"} & set(beyond.of)
    occluded = _table(report, "score-without-a-part")
    replaced = ["nothing", "the inside of the lesion", "its surroundings"]
    for _, rows in occluded.groupby("cohort"):
        assert list(rows.replaced) == replaced
        assert rows.change.iloc[0] == "0.000"


def test_without_diameters_there_is_no_chapter(predictions, statistics, artefacts, tmp_path):
    unknown = predictions.assign(diameter_mm=float("nan"))
    output = OutputFolder(tmp_path)
    run = ReportRun("net", unknown, statistics["runs"]["net"], artefacts, output)
    assert not drivers.drivers_of_the_score(run).tables
    assert not [*tmp_path.iterdir()]

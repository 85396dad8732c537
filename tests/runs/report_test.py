"""`--mode=report` on tables of several kinds, and what it takes from a run's folder."""

import json

import numpy as np
import pandas as pd
import pytest

import dtc_jax
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import artefacts
from dtc_jax.runs import report


@pytest.fixture
def table() -> pd.DataFrame:
    """The four columns that are needed, of 30 patients."""
    rng = np.random.default_rng(0)
    label = np.arange(90) // 3 % 2
    ids = [f"P{i // 3:02}" for i in range(90)]
    return pd.DataFrame(
        {
            "patient_id": ids,
            "lesion_id": [f"L{i}" for i in range(90)],
            "label": label,
            "score": np.clip(0.5 + 0.2 * label - 0.1 + 0.2 * rng.normal(size=90), 0, 1),
        }
    )


def test_four_columns_are_enough_and_the_threshold_is_the_one_given(table, tmp_path, capsys):
    table.to_csv(tmp_path / "theirs.csv", index=False)
    report.run([tmp_path / "theirs.csv"], tmp_path / "out", threshold=0.4)
    assert f"{tmp_path}/out/report.html" in capsys.readouterr().out
    found = json.loads((tmp_path / "out/statistics.json").read_text())
    section = found["runs"]["theirs"]["primary"]["test"]
    assert section["threshold"]["values"] == [0.4]
    positive = table.score >= 0.4
    assert section["confusion"]["tp"] == int((positive & (table.label == 1)).sum())


def test_a_table_that_contradicts_itself_is_refused_and_nothing_is_written(table, tmp_path):
    table.assign(score=table.score + 1).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=r"bad\.csv: row 2, score"):
        report.run([tmp_path / "bad.csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("empty", ["label", "score"])
def test_tables_without_a_label_or_without_a_score_are_refused(table, tmp_path, empty):
    table.assign(**{empty: ""}).to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(InputError, match=r"bare\.csv: no row has both a label and a score"):
        report.run([tmp_path / "bare.csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_table_and_one_without_rows_are_refused(table, tmp_path):
    with pytest.raises(UsageError, match="no table of predictions is given"):
        dtc_jax.write_report([], tmp_path / "out")
    with pytest.raises(InputError, match="table 1: no row has both a label and a score"):
        dtc_jax.write_report(table.iloc[:0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.extras
@pytest.mark.parametrize(
    ("empty", "order"), [("label", ("both", "none")), ("score", ("none", "both"))]
)
def test_a_run_and_a_cohort_without_figures_are_skipped_and_counted(
    table, tmp_path, empty, order, capsys
):
    (tmp_path / "config.json").write_text('{"report": {"resamples": 200}}')
    table["diameter_mm"] = 5.0 + np.arange(90) % 9
    there = table.assign(patient_id="Q" + table.patient_id, cohort="there", **{empty: ""})
    table = table.assign(cohort="here")
    both, none = pd.concat([there, table]), table.assign(**{empty: np.nan})
    both.to_csv(tmp_path / "both.csv", index=False)
    none.to_csv(tmp_path / "none.csv", index=False)
    report.run([tmp_path / f"{name}.csv" for name in order], tmp_path / "out")
    found = json.loads((tmp_path / "out/statistics.json").read_text())["runs"]
    assert found["both"]["there"]["test"][f"without_{empty}"] == 90
    assert found["none"]["here"]["test"]["lesions"] == 0
    said = capsys.readouterr().out
    assert "none, here, test: no lesion has both a label and a score" in said
    assert f"both, there, test: 90 rows without a {empty} were skipped." in said
    drawn = {path.stem for path in (tmp_path / "out/figures").glob("*-roc.svg")}
    assert drawn == {"both-here-roc"}


def test_a_runs_folder_gives_curves_baselines_and_lesions(table, tmp_path):
    table.to_csv(tmp_path / "predictions.csv", index=False)
    alone = artefacts.read(tmp_path / "predictions.csv")
    assert (alone.config, alone.baselines, alone.lesions, alone.curves) == (None,) * 4
    (tmp_path / "config.json").write_text('{"seed": 1}')
    table.assign(run="diameter").to_csv(tmp_path / "baselines.csv", index=False)
    table[["patient_id", "lesion_id"]].assign(kvp=120).to_csv(tmp_path / "lesions.csv", index=False)
    for fold in ("00", "01"):
        folder = tmp_path / "folds" / fold
        folder.mkdir(parents=True)
        rows = [
            {"step": 5, "epoch": 1.0, "train/loss": 0.7},
            {"step": 5, "epoch": 1.0, "validation/loss": 0.8, "validation/auc": None},
        ]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = artefacts.read(tmp_path / "predictions.csv")
    assert found.config == {"seed": 1}
    assert found.lesions.kvp.tolist() == [120] * 90
    assert len(found.baselines) == 90
    curves = found.curves.set_index(["training", "split", "metric"]).value
    assert curves["folds/01", "validation", "loss"] == 0.8
    assert len(curves) == 4


def test_a_damaged_file_of_the_run_is_named(table, tmp_path):
    table.to_csv(tmp_path / "predictions.csv", index=False)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json: not valid JSON"):
        report.run([tmp_path / "predictions.csv"], tmp_path / "out")


def test_a_constant_score_has_a_report(table, tmp_path):
    both = [table.assign(split=split) for split in ("validation", "test")]
    both[0]["patient_id"] = "V" + both[0].patient_id
    pd.concat(both).assign(score=0.3).to_csv(tmp_path / "majority.csv", index=False)
    report.run([tmp_path / "majority.csv"], tmp_path / "out")
    found = json.loads((tmp_path / "out/statistics.json").read_text())
    platt = found["runs"]["majority"]["primary"]["test"]["calibration"]["recalibrated"]["platt"]
    assert platt["slope"]["value"] is None
    assert platt["brier"]["value"] == pytest.approx(0.25, abs=1e-3)

"""Chapter on what the score follows: size, density, ratings, the lesion or its surroundings."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import special

from dtc_jax.report import page
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics import drivers, roc
from dtc_jax.statistics.formatting import estimate, number

_TITLE = "What the score follows"
_SHOWN = ("features", "diameter")  # baselines beside the network
# Columns that are sizes, decisions or names, even where the names are numbers.
_LEFT_OUT = (
    *("diameter_mm", "diameter_given_mm", "volume_mm3", "mask_label"),
    *("score", "threshold", "decision", "label", "fold", "run", "cohort", "split"),
    *("patient_id", "lesion_id", "same_patient", "center", "scanner", "kernel"),
)
_FEWEST = 20  # lesions with a value, for a correlation
_DISTINCT = 3


def drivers_of_the_score(run: ReportRun) -> page.Section:
    """Size against the rest; empty where no diameter is known."""
    if "diameter_mm" not in run.rows:
        return page.Section(_TITLE)
    size: list[dict[str, str]] = []
    beyond: list[dict[str, str]] = []
    occluded: list[dict[str, str]] = []
    for cohort, _ in run.tested():
        rows = run.rows[(run.rows.cohort == cohort) & (run.rows.split == "test")]
        rows = rows[rows.label.notna() & rows.score.notna() & rows.diameter_mm.notna()]
        if rows.label.nunique() < 2:
            continue
        size += [_of_size(cohort, "network", rows)]
        for name in run.baselines(cohort):
            if name in _SHOWN:
                compared = run.baseline_rows(name, cohort)
                size.append(_of_size(cohort, name, compared[compared.diameter_mm.notna()]))
        beyond += _beyond_size(cohort, rows)
        occluded += _occluded(cohort, run.artefacts.occluded)
    if not size:
        return page.Section(_TITLE)
    tables = [
        run.output.table(
            "score-and-size",
            pd.DataFrame(size),
            "How far size explains the score. AUC at equal size: how often a refractory lesion "
            "scores above an avid one whose diameter is in the same half millimetre. A score that "
            "knows the size alone gets little more than .5, as the row of the diameter shows.",
        )
    ]
    if beyond:
        caption = (
            "Rank correlation of the score with what is known of the lesions: as it is, and once "
            "diameter and class are known. A correlation that remains is explained by neither size "
            "nor class."
        )
        tables.append(run.output.table("score-beyond-size", pd.DataFrame(beyond), caption))
    if occluded:
        caption = (
            "The same lesions with a part of the picture replaced by the mean density of the rim. "
            "A network that sees the mask still knows the size. Change: the median of the absolute "
            "change of the logit."
        )
        tables.append(run.output.table("score-without-a-part", pd.DataFrame(occluded), caption))
    return page.Section(_TITLE, tables=tables)


def _of_size(cohort: str, by: str, rows: pd.DataFrame) -> dict[str, str]:
    label, score, diameter, patients = _arrays(rows)
    matched = drivers.auc_at_equal_size(label, score, diameter, patients)
    return {
        "cohort": cohort,
        "by": by,
        "AUC": number(roc.auc(label, score)),
        "rank correlation with diameter": estimate(
            drivers.rank_correlation(score, diameter, patients).as_dict()
        ),
        "AUC at equal size": estimate(matched.as_dict()),
        "n": str(matched.n),
    }


def _beyond_size(cohort: str, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for column in rows.columns.difference(_LEFT_OUT, sort=False):
        value = pd.to_numeric(rows[column], errors="coerce")
        part = rows[value.notna()]
        has_words = (value.isna() & rows[column].notna()).any()
        if has_words or part.lesion_id.nunique() < _FEWEST or value.nunique() < _DISTINCT:
            continue
        label, score, diameter, patients = _arrays(part)
        values = value[value.notna()].to_numpy(np.float64)
        given = np.column_stack([diameter, label])
        yield {
            "cohort": cohort,
            "of": column,
            "rank correlation": estimate(
                drivers.rank_correlation(score, values, patients).as_dict()
            ),
            "given diameter and class": estimate(
                drivers.partial_rank_correlation(score, values, given, patients).as_dict()
            ),
            "lesions": str(part.lesion_id.nunique()),
        }


def _occluded(cohort: str, table: pd.DataFrame | None) -> Iterator[dict[str, str]]:
    if table is None:
        return
    rows = table[(table.cohort == cohort) & table.label.notna()]
    if rows.label.nunique() < 2:
        return
    label, patients = rows.label.to_numpy(int), rows.patient_id.to_numpy(str)
    columns = {
        "nothing": "score",
        "the inside of the lesion": "without_inside",
        "its surroundings": "without_surroundings",
    }
    logit = special.logit(rows.score.to_numpy().clip(1e-6, 1 - 1e-6))
    for name, column in columns.items():
        score = rows[column].to_numpy(np.float64)
        change = np.abs(special.logit(score.clip(1e-6, 1 - 1e-6)) - logit)
        yield {
            "cohort": cohort,
            "replaced": name,
            "AUC": estimate(roc.auc_interval(label, score, patients).as_dict()),
            "change": number(float(np.median(change))),
            "lesions": str(rows.lesion_id.nunique()),
        }


def _arrays(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Label, score, diameter and patient of each lesion."""
    return (
        rows.label.to_numpy(np.int64),
        rows.score.to_numpy(np.float64),
        rows.diameter_mm.to_numpy(np.float64),
        rows.patient_id.to_numpy(str),
    )

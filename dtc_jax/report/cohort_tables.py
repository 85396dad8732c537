"""Table 1 and similar tables: characteristics by group, with the tests of the study.

Continuous columns have mean (SD) and Welch's t test (analysis of variance for more than two
groups), or median [quartiles] and the Kruskal-Wallis rank test if the skewness of a group exceeds
1. Where two groups are compared, the P values of Welch's and of Student's t test are given as well,
skewed or not, since studies rarely say which one is theirs. Categories have Pearson's chi-square
test, without Yates's correction, or Fisher's exact test if an expected count is below 5. Patients
are compared as patients. P values of lesions treat them as independent, as the study did. A column
with a single value is left out.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from tableone import TableOne

from dtc_jax.statistics import predictions_table

_PATIENT = {"age": "age, years", "sex": "sex", "center": "centre", "lesions": "lesions per patient"}
_LESION = {
    "truth": "label",
    "diameter_mm": "largest axial diameter, mm",
    "volume_mm3": "volume, mm³",
    "mean_hu": "mean attenuation, HU",
    "kvp": "tube voltage, kVp",
    "tube_current_ma": "tube current, mA",
    "kernel": "reconstruction kernel",
    "pixel_mm": "pixel spacing, mm",
    "slice_mm": "slice thickness, mm",
    "scanner": "scanner",
}
_CATEGORIES = ("sex", "center", "truth", "kvp", "kernel", "scanner")
_T_TESTS = {"P, Welch's t": False, "P, Student's t": True}  # whether variances count as equal
_NAMES = {"Welch\N{RIGHT SINGLE QUOTATION MARK}s T-test": "Welch's t"}  # as we write it
_HEADINGS = {"Missing": "missing", "Overall": "overall", "P-Value": "P", "Test": "P by"}
_MAX_LEVELS = 12  # of a category in a table
_DRAWS = 9999
_LABELS = {0: "avid", 1: "refractory"}


def tables(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of a cohort as text; the first column names the rows.

    Args:
      predictions: rows of one run, see `statistics.predictions_table`, with label and, if known,
        age, sex, center, diameter_mm, volume_mm3, mean_hu, kvp, tube_current_ma, kernel, pixel_mm,
        slice_mm and scanner.

    Returns:
      'COHORT by label' for each cohort, 'by cohort' if there are several, and 'COHORT by split' for
      a hold-out split.
    """
    rows = predictions[predictions.label.notna()]
    truth = rows.label.astype(int).map(_LABELS)
    rows = rows.assign(truth=truth)
    made = {}
    lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
    for cohort, of_cohort in lesions.groupby("cohort", sort=False):
        by_label = of_cohort.assign(group=of_cohort.truth)
        made[f"{cohort} by label"] = _table(by_label, ["avid", "refractory"])
        if rows.fold.nunique() == 1 and of_cohort.split.nunique() > 1:
            order = [s for s in predictions_table.SPLITS if (of_cohort.split == s).any()]
            made[f"{cohort} by split"] = _table(of_cohort.assign(group=of_cohort.split), order)
    if lesions.cohort.nunique() > 1:
        cohorts = list(lesions.cohort.unique())
        made["by cohort"] = _table(lesions.assign(group=lesions.cohort), cohorts)
    return made


def _table(lesions: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Rows of patients, then rows of lesions; a patient in several groups is 'mixed'."""
    by_patient = lesions.groupby("patient_id", sort=False)
    patients = by_patient.first().assign(lesions=by_patient.size())
    patients["group"] = patients.group.where(by_patient.group.nunique() == 1, "mixed")
    parts = [
        _part(patients, _PATIENT, [*groups, "mixed"], "patients"),
        _part(lesions, _LESION, groups, "lesions"),
    ]
    columns = ("overall", *groups, "mixed", "P", "P by", *_T_TESTS, "missing")
    present = [name for name in columns if any(name in part for part in parts)]
    table = pd.concat(parts, ignore_index=True).reindex(columns=["", *present]).fillna("")
    return table.loc[:, [column == "" or bool((table[column] != "").any()) for column in table]]


def _part(
    rows: pd.DataFrame, names: dict[str, str], order: Sequence[str], unit: str
) -> pd.DataFrame:
    """The table of one unit: one row per column and level, one column per group in `order`."""
    order = [group for group in order if (rows.group == group).any()]
    columns = [c for c in names if c in rows and rows[c].nunique() > 1]
    if set(order) <= {*_LABELS.values(), "mixed"}:
        columns = [c for c in columns if c != "truth"]  # it defines the groups
    categories = [c for c in columns if c in _CATEGORIES and rows[c].nunique() <= _MAX_LEVELS]
    columns = [c for c in columns if c not in _CATEGORIES or c in categories]
    if not columns:
        counts = {group: str(int((rows.group == group).sum())) for group in order}
        return pd.DataFrame([{"": f"{unit}, n", "overall": str(len(rows)), **counts}])
    rows = rows[[*columns, "group"]].reset_index(drop=True)
    for column in categories:
        rows[column] = rows[column].map(_level, na_action="ignore").astype(object)
    compared = len(order) > 1
    tests = {c: _exact if _is_sparse(rows, c) else _chi_square for c in categories}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # groups too small for a test have no P
        made = TableOne(
            rows,
            columns=columns,
            categorical=categories,
            nonnormal=[c for c in columns if c not in categories and _skewed(rows, c)],
            groupby="group",
            order={"group": order},
            pval=compared,
            htest_name=compared,
            htest=tests if compared else None,
            include_null=False,
            missing=True,
            overall=True,
        ).tableone
    made.columns = made.columns.get_level_values(-1)
    made = made.rename(columns=_HEADINGS)
    if compared:
        made["P by"] = made["P by"].replace(_NAMES)
        numbers = {c: rows[c].astype(float) for c in columns if c not in categories}
        for test, equal in _T_TESTS.items() if len(order) == 2 else ():
            p = {c: _t_test(of, rows.group, order, equal) for c, of in numbers.items()}
            made[test] = [p.get(name.rpartition(", ")[0], "") for name, _ in made.index]
    made.insert(0, "", [_row_name(name, level, names, unit) for name, level in made.index])
    return made.reset_index(drop=True).astype(str).replace({"nan": "", "None": ""})


def _t_test(values: pd.Series, group: pd.Series, order: Sequence[str], equal: bool) -> str:
    """P of the t test of two groups with equal or unequal variances, as in the table."""
    first, second = (values[group == name].dropna() for name in order)
    if min(len(first), len(second)) < 2:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            p = float(stats.ttest_ind(first, second, equal_var=equal).pvalue)
        except RuntimeWarning:  # values of a group are all but equal, so that rounding decides
            return ""
    return "" if np.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _skewed(rows: pd.DataFrame, column: str) -> bool:
    return bool((rows.groupby("group")[column].skew().abs() > 1).any())


def _is_sparse(rows: pd.DataFrame, column: str) -> bool:
    """Whether an expected count is below 5, too few for the chi-square test."""
    counts = pd.crosstab(rows[column], rows.group)
    if min(counts.shape) < 2:
        return False
    return bool(stats.contingency.expected_freq(counts).min() < 5)


def _exact(*counts: Sequence[int]) -> float:
    """P of Fisher's exact test; for tables above 2 by 2, of Freeman and Halton by simulation."""
    table = np.array(counts)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape == (2, 2):
        return float(stats.fisher_exact(table).pvalue)
    null = stats.random_table(table.sum(axis=1), table.sum(axis=0))
    drawn = null.logpmf(null.rvs(_DRAWS, random_state=np.random.default_rng(0)))
    as_rare = np.sum(drawn <= null.logpmf(table) + 1e-9)
    return float((as_rare + 1) / (_DRAWS + 1))


def _chi_square(*counts: Sequence[int]) -> float:
    """P of Pearson's test; TableOne's own corrects tables of 2 by 2 (Yates)."""
    table = np.array(counts)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return float("nan")
    return float(stats.chi2_contingency(table, correction=False).pvalue)


_exact.__name__ = "Fisher's exact"  # their names in the table
_chi_square.__name__ = "Chi-squared"


def _level(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row_name(column: str, level: str, names: dict[str, str], unit: str) -> str:
    if column == "n":
        return f"{unit}, n"
    name, comma, form = column.rpartition(", ")
    if not comma:
        name, form = column, ""
    text = f"{names.get(name, name)}, {form}" if form else names.get(name, name)
    return f"{text}: {level}" if level else text

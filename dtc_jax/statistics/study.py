"""All statistics of a table of predictions, as the JSON values of `statistics.json`.

The positive class is RAI-refractory: sensitivity is the share of refractory lesions that are
classified as such, and a positive decision withholds I-131. An ESTIMATE is {value, low, high, n,
patients, interval}: low and high are its 95 % interval, `interval` names the method; undefined
values are null. A BAND is {value, low, high}, lists of the length of their axis.

    settings       the arguments of `study`
    notes          sentences that a reader must see
    runs           {run: {cohort: {split: SECTION}}}
    comparisons    a list of COMPARISON

SECTION, of the lesions of one run, cohort and split, with folds pooled:

    predictions, positives, negatives                           one per lesion and fold
    lesions, patients, positive_lesions, negative_lesions       each counted once
    patients_with_positive, patients_with_negative, prevalence
    without_label, without_score                                rows skipped
    leaked_patients         also in the training split of this run: unless 0, the figures are
                            optimistically biased
    auc                     ESTIMATE, clustered by patient: the headline
    auc_naive               ESTIMATE, lesions treated as independent
    auc_bootstrap           ESTIMATE, percentiles of the patient bootstrap
    auc_by_fold             {fold: AUC} if there are several
    design_effect           clustered variance of the AUC / the naive one
    icc                     {positives, negatives, correct}: intra-class correlation within
                            patients, of the score in either class and of correctness
    average_precision       ESTIMATE, percentiles of the patient bootstrap
    confusion               {tp, fn, tn, fp}
    rates, rates_naive      {accuracy, sensitivity, specificity, ppv, npv, f1: ESTIMATE}
    threshold               {values, source}: one value per fold, and what it was chosen on
    roc                     null if a class is absent, else
        fpr, tpr, threshold     the curve's points (at most 500; the first threshold is null)
        band                    {fpr, low, high}: pointwise 95 % of the patient bootstrap
        operating_point         {fpr, tpr} of the decisions
    decision_curve          DECISION_CURVE of the scores
    calibration
        slope, intercept        ESTIMATE of the logistic calibration; ideal 1 and 0
        brier, brier_prevalence ESTIMATE, and the Brier score of always predicting the prevalence
        ece                     expected calibration error over the bins of `reliability`
        reliability             a list of {low, high, score, observed: ESTIMATE}; ten bins of
                                equally many lesions; `score` is a bin's mean
        recalibrated            {platt, temperature, isotonic: {slope, intercept, brier, ece}},
                                fitted on the validation split of the run; null without one
        prevalence              {prevalence, ppv: BAND, npv: BAND} at the decisions' sensitivity and
                                specificity
    subgroups               a list of
        factor                  'diameter', 'center', 'sex' or 'age'
        note                    how the levels are defined
        levels                  a list of {level, lesions, patients, positives, negatives (each
                                lesion counted once),
                                auc: ESTIMATE, accuracy: ESTIMATE, rates: {accuracy, sensitivity,
                                specificity, ppv, npv: ESTIMATE}, confusion, roc: {fpr, tpr}, note};
                                if a class has fewer than 5 lesions, note is 'too few' and auc,
                                accuracy and roc are null; so is a rate of fewer than 5 lesions
        interaction             {statistic, df: [numerator, denominator], p, note}: do the AUCs of
                                the levels differ? nulls and a note if there is no test
    patient_level           null if a class is absent among patients, else
        truth                   'any' or 'all': a patient with lesions of both labels counts as
                                refractory if any or all of them are
        mixed                   patients with lesions of both labels
        patients, positives, negatives
        rules                   {any, all, mean, volume: {auc: ESTIMATE, rates, confusion,
                                decision_curve: DECISION_CURVE}}; volume only with diameters
    abstention
        risk_coverage           {coverage, error: BAND, sensitivity, specificity}: the most certain
                                share of the lesions is decided, the rest is not
        aurc                    area under `error` over coverage: lower is better
        conformal               a list of CONFORMAL, one per alpha; empty without validation split

DECISION_CURVE: {threshold, model: BAND, all: BAND, none: BAND, gain: BAND}: net benefit of
withholding I-131 from lesions scored at or above the threshold probability, from all, and from
none; gain is the benefit of the model minus the better of the other two.

CONFORMAL: {alpha, calibration_lesions, calibration_patients, counts: {avid, refractory, both,
neither}, decided: ESTIMATE, error_of_decided: ESTIMATE, coverage_of_positives: ESTIMATE,
coverage_of_negatives: ESTIMATE}: 'both' and 'neither' are too uncertain to decide from
CT.

COMPARISON: {kind, split, first: {run, cohort}, second: {run, cohort}, lesions, patients, auc_first,
auc_second, difference: ESTIMATE (first - second), p, p_naive, p_holm, non_inferiority: {margin, p,
holds}}: kind 'paired' is two runs on the same lesions, 'unpaired' one run on two cohorts. Holm's
adjustment covers all comparisons of a kind. Non-inferior: `first` is worse by less than margin.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import progress
from dtc_jax.errors import UsageError, unknown_choice
from dtc_jax.statistics import (
    comparison,
    matching,
    patient_level,
    predictions_table,
    roc,
    section,
    sex,
    subgroups,
    tables,
)
from dtc_jax.statistics.estimate import plain


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of the statistics; a `UsageError` names an invalid field.

    Attributes:
      threshold: of the decisions if the table has no column `threshold`; None: 0.5.
      patient_truth: 'any' or 'all': a patient with lesions of both labels is refractory if any or
        all of them are.
      diameter_rounding: 'nearest' (halves up) or 'down': to the whole mm of the diameter groups.
      margin: of non-inferiority, in AUC.
      resamples: of the patient bootstrap.
      seed: of the bootstrap.
    """

    threshold: float | None = None
    patient_truth: str = "any"
    diameter_rounding: str = "nearest"
    margin: float = 0.05
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self):
        for field, choices in (
            ("patient_truth", patient_level.TRUTHS),
            ("diameter_rounding", subgroups.ROUNDINGS),
        ):
            value = getattr(self, field)
            if value not in choices:
                raise unknown_choice(field, value, choices)
        if not 0 < self.margin < 1:
            raise UsageError(f"margin is {self.margin}; it must be between 0 and 1.")
        if self.resamples < 200:
            raise UsageError(f"resamples is {self.resamples}; give 200 or more.")


def study(predictions: pd.DataFrame, settings: Settings | None = None) -> dict[str, Any]:
    """All statistics of the study; see the module's docstring.

    Args:
      predictions: rows of one or several runs; needed are patient_id, lesion_id, label and score,
        see `predictions_table`. The other runs are compared with the first one.
      settings: default `Settings()`.

    Raises:
      InputError: the table contradicts itself, see `predictions_table.complete`, or two runs have
        no lesion in common because their ids are spelled differently.
    """
    settings = settings or Settings()
    table = predictions_table.complete(predictions, settings.threshold)
    notes = [*matching.notes(table), *sex.note(table)]  # first: it may refuse the tables
    if "sex" in table:  # of the whole table, as what a letter means depends on the others
        table["sex"] = sex.read(table.sex)
    groups = list(table.groupby(["run", "cohort", "split"], sort=False))
    runs: dict[str, Any] = {}
    for (run, cohort, split), rows in progress.track(groups, "statistics"):
        of_run = table[table.run == run]
        runs.setdefault(run, {}).setdefault(cohort, {})[split] = section.section(
            rows,
            of_run[of_run.split != "test"],
            patient_truth=settings.patient_truth,
            diameter_rounding=settings.diameter_rounding,
            resamples=settings.resamples,
            seed=settings.seed,
        )
    return {
        "positive": "RAI-refractory",
        "settings": dataclasses.asdict(settings),
        "notes": [*notes, *_notes(runs)],
        "runs": runs,
        "comparisons": _comparisons(tables.usable(table), settings.margin),
    }


def _notes(runs: dict[str, Any]) -> list[str]:
    notes = []
    for run, cohorts in runs.items():
        for cohort, splits in cohorts.items():
            for split, figures in splits.items():
                notes += [f"{run}, {cohort}, {split}: {text}" for text in _remarks(figures)]
    return notes


def _remarks(figures: dict[str, Any]) -> list[str]:
    """Warnings about a SECTION."""
    remarks = []
    if not figures["lesions"]:
        remarks.append("no lesion has both a label and a score, so there are no figures.")
    elif not figures["positives"] or not figures["negatives"]:
        remarks.append("all lesions have the same label, so there is no AUC.")
    if figures["leaked_patients"]:
        remarks.append(
            f"{figures['leaked_patients']} of {figures['patients']} patients are also in the "
            "training split, so every figure is optimistically biased."
        )
    if figures["predictions"] > figures["lesions"]:
        remarks.append(
            f"{figures['lesions']} lesions have {figures['predictions']} predictions from several "
            "folds, which count as lesions of the same patient."
        )
    for name in ("label", "score"):
        if figures[f"without_{name}"]:
            remarks.append(f"{figures[f'without_{name}']} rows without a {name} were skipped.")
    if "default" in figures["threshold"]["source"]:
        remarks.append(f"threshold {figures['threshold']['source']}.")
    return remarks


def _comparisons(table: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    """The first run against the others on the same lesions, and two cohorts of each run."""
    return [*_adjusted(_paired(table, margin)), *unpaired(table[table.split == "test"], margin)]


def _adjusted(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of one kind with Holm's P."""
    p = [np.nan if record["p"] is None else record["p"] for record in records]
    adjusted = comparison.holm(np.array(p))
    return [
        record | {"p_holm": plain(float(value))}
        for record, value in zip(records, adjusted, strict=True)
    ]


def _paired(table: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    first, *others = table.run.unique() if len(table) else [""]
    records = []
    for (cohort, split), rows in table[table.split != "train"].groupby(
        ["cohort", "split"], sort=False
    ):
        for other in others:
            ours, theirs = (rows[rows.run == run] for run in (first, other))
            by = matching.key(ours, theirs)
            theirs = theirs[[*by, "score"]].rename(columns={"score": "score_other"})
            both = ours.merge(theirs, on=by)
            if both.label.nunique() < 2:
                continue
            labels = both.label.to_numpy(np.int64)
            scores = both.score.to_numpy(), both.score_other.to_numpy()
            difference = comparison.paired(labels, *scores, both.patient_id.to_numpy(str))
            naive = comparison.paired(labels, *scores, tables.lesions(both))
            names = [{"run": run, "cohort": cohort} for run in (first, other)]
            areas = [roc.auc(labels, values) for values in scores]
            records.append(_record("paired", split, names, areas, difference, naive, margin))
    return records


def unpaired(table: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    """COMPARISONs of each two cohorts of a run, see the module's docstring.

    Args:
      table: test rows with label and score, of `predictions_table.complete`.
      margin: of non-inferiority.
    """
    records = []
    for run, rows in table.groupby("run", sort=False):
        for pair in itertools.combinations(rows.cohort.unique(), 2):
            sides = [rows[rows.cohort == cohort] for cohort in pair]
            if min(side.label.nunique() for side in sides) < 2:
                continue
            arrays = [(side.label.to_numpy(np.int64), side.score.to_numpy()) for side in sides]
            difference, naive = (
                comparison.unpaired(*((*a, of(s)) for a, s in zip(arrays, sides, strict=True)))
                for of in (lambda side: side.patient_id.to_numpy(str), tables.lesions)
            )
            names = [{"run": run, "cohort": cohort} for cohort in pair]
            areas = [roc.auc(*array) for array in arrays]
            records.append(_record("unpaired", "test", names, areas, difference, naive, margin))
    return _adjusted(records)


def _record(
    kind: str,
    split: str,
    names: list[dict[str, str]],
    areas: list[float],
    difference: comparison.Difference,
    naive: comparison.Difference,
    margin: float,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "split": split,
        "first": names[0],
        "second": names[1],
        "lesions": difference.estimate.n,
        "patients": difference.estimate.patients,
        "auc_first": areas[0],
        "auc_second": areas[1],
        "difference": difference.estimate.as_dict(),
        "p": plain(difference.p),
        "p_naive": plain(naive.p),
        "non_inferiority": difference.non_inferiority(margin),
    }

"""Everything that is said of a table of predictions, as the plain values of `statistics.json`.

The positive class is RAI-refractory: "sensitivity" is the share of refractory lesions found, and a
positive decision withholds I-131. An ESTIMATE is {value, low, high, n, patients, interval}: low and
high are its 95 % interval, `interval` says how it was made; null is what cannot be had. A BAND is
{value, low, high}, lists as long as the axis beside them.

    settings       what the figures were made with: the arguments of `study`
    notes          sentences that a reader must see
    runs           {run: {cohort: {split: SECTION}}}
    comparisons    a list of COMPARISON

SECTION, of one run's lesions of a cohort and split; folds are pooled:

    predictions, lesions, patients, positives, negatives        predictions: one a lesion and fold
    patients_with_positive, patients_with_negative, prevalence
    without_label, without_score                                rows skipped
    leaked_patients         that are in this run's training split too: 0, or the figures flatter
    auc                     ESTIMATE, clustered by patient: the headline
    auc_naive               ESTIMATE, as if lesions were independent
    auc_bootstrap           ESTIMATE, percentiles of the patient bootstrap
    auc_by_fold             {fold: AUC} where there are several
    design_effect           clustered variance of the AUC / the naive one
    icc                     {positives, negatives, correct}: intra-class correlation within
                            patients, of the score of either class and of being right
    average_precision       ESTIMATE, percentiles of the patient bootstrap
    confusion               {tp, fn, tn, fp}
    rates, rates_naive      {accuracy, sensitivity, specificity, ppv, npv, f1: ESTIMATE}
    threshold               {values, source}: one value a fold, and what it was chosen on
    roc                     null where a class is absent, else
        fpr, tpr, threshold     the curve's points (at most 500; the first threshold is null)
        band                    {fpr, low, high}: pointwise 95 % of the patient bootstrap
        operating_point         {fpr, tpr} of the decisions
    decision_curve          DECISION_CURVE of the scores
    calibration
        slope, intercept        ESTIMATE of the logistic calibration; ideal 1 and 0
        brier, brier_prevalence ESTIMATE, and the Brier score of always saying the prevalence
        ece                     expected calibration error over the bins of `reliability`
        reliability             a list of {low, high, score, observed: ESTIMATE}; ten bins of
                                equally many lesions; `score` is a bin's mean
        recalibrated            {platt, temperature, isotonic: {slope, intercept, brier, ece}},
                                fitted on the run's validation split alone; null without one
        prevalence              {prevalence, ppv: BAND, npv: BAND} at the decisions' sensitivity and
                                specificity
    subgroups               a list of
        factor                  'diameter', 'center', 'sex' or 'age'
        note                    how the levels were made
        levels                  a list of {level, lesions, patients, positives, negatives,
                                auc: ESTIMATE, accuracy: ESTIMATE, note}; where a class has fewer
                                than 5 lesions note is 'too few' and both are null
        interaction             {statistic, df: [numerator, denominator], p, note}: do the AUCs of
                                the levels differ? null figures and a note where it cannot be had
    patient_level           null where a class is absent among patients, else
        truth                   'any' or 'all': a mixed patient counts as refractory if any or all
                                of the labelled lesions are
        mixed                   patients with lesions of both labels
        patients, positives, negatives
        rules                   {any, all, mean, volume: {auc: ESTIMATE, rates, confusion,
                                decision_curve: DECISION_CURVE}}; volume only with diameters
    abstention
        risk_coverage           {coverage, error: BAND, sensitivity, specificity}: the most certain
                                share of the lesions is decided, the rest is left open
        aurc                    area under `error` over coverage: lower is better
        conformal               a list, one an alpha, of CONFORMAL; empty without validation split

DECISION_CURVE: {threshold, model: BAND, all: BAND, none: BAND, gain: BAND}: net benefit of
withholding I-131 from those scored at or above the threshold probability, from all, and from none;
gain is the model's over the better of the other two.

CONFORMAL: {alpha, calibration_lesions, calibration_patients, counts: {avid, refractory, both,
neither}, decided: ESTIMATE, error_of_decided: ESTIMATE, coverage_of_positives: ESTIMATE,
coverage_of_negatives: ESTIMATE}: 'both' and 'neither' are too uncertain to decide from CT.

COMPARISON: {kind, split, first: {run, cohort}, second: {run, cohort}, lesions, patients, auc_first,
auc_second, difference: ESTIMATE (first - second), p, p_naive, p_holm, non_inferiority: {margin, p,
holds}}: kind 'paired' is two runs on the same lesions, 'unpaired' one run on two cohorts. Holm's
adjustment is over all comparisons of a kind. Non-inferior: `first` is worse by less than margin.
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
    patient_level,
    predictions_table,
    roc,
    section,
    subgroups,
    tables,
)
from dtc_jax.statistics.estimate import plain

_LESION = ["fold", "patient_id", "lesion_id"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the figures are made with; a `UsageError` names the field that is not what it must be.

    Attributes:
      threshold: of the decisions where the table has no column `threshold`; None: 0.5.
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
    """The study in figures; see the module's docstring.

    Args:
      predictions: rows of one or several runs; needed are patient_id, lesion_id, label and score,
        see `predictions_table`. The first run is the one that the others are compared with.
      settings: default `Settings()`.

    Raises:
      InputError: the table contradicts itself, see `predictions_table.complete`.
    """
    settings = settings or Settings()
    table = predictions_table.complete(predictions, settings.threshold)
    groups = list(table.groupby(["run", "cohort", "split"], sort=False))
    runs: dict[str, Any] = {}
    for (run, cohort, split), rows in progress.track(groups, "statistics"):
        own = table[table.run == run]
        runs.setdefault(run, {}).setdefault(cohort, {})[split] = section.section(
            rows,
            own[own.split != "test"],
            patient_truth=settings.patient_truth,
            diameter_rounding=settings.diameter_rounding,
            resamples=settings.resamples,
            seed=settings.seed,
        )
    return {
        "positive": "RAI-refractory",
        "settings": dataclasses.asdict(settings),
        "notes": _notes(runs),
        "runs": runs,
        "comparisons": _comparisons(tables.usable(table), settings.margin),
    }


def _notes(runs: dict[str, Any]) -> list[str]:
    notes = []
    for run, cohorts in runs.items():
        for cohort, splits in cohorts.items():
            for split, found in splits.items():
                notes += [f"{run}, {cohort}, {split}: {text}" for text in _remarks(found)]
    return notes


def _remarks(found: dict[str, Any]) -> list[str]:
    """What must be known of a SECTION."""
    remarks = []
    if not found["positives"] or not found["negatives"]:
        remarks.append("lesions of one label only, so there is no AUC.")
    if found["leaked_patients"]:
        remarks.append(
            f"{found['leaked_patients']} of {found['patients']} patients are in the training split "
            "too, so every figure flatters."
        )
    if found["predictions"] > found["lesions"]:
        remarks.append(
            f"{found['lesions']} lesions have {found['predictions']} predictions of several folds, "
            "which count as lesions of the same patient."
        )
    for name, what in (("without_label", "label"), ("without_score", "score")):
        if found[name]:
            remarks.append(f"{found[name]} rows without a {what} are left out.")
    if "default" in found["threshold"]["source"]:
        remarks.append(f"threshold {found['threshold']['source']}.")
    return remarks


def _comparisons(table: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    """The first run against the others on the same lesions, and each run between two cohorts."""
    found = [*_paired(table, margin), *_unpaired(table[table.split == "test"], margin)]
    for kind in ("paired", "unpaired"):
        own = [one for one in found if one["kind"] == kind]
        p = [np.nan if one["p"] is None else one["p"] for one in own]
        for one, adjusted in zip(own, comparison.holm(np.array(p)), strict=True):
            one["p_holm"] = plain(float(adjusted))
    return found


def _paired(table: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    first, *others = table.run.unique() if len(table) else [""]
    found = []
    for (cohort, split), rows in table[table.split != "train"].groupby(
        ["cohort", "split"], sort=False
    ):
        for other in others:
            ours, theirs = (rows[rows.run == run] for run in (first, other))
            theirs = theirs[[*_LESION, "score"]].rename(columns={"score": "score_other"})
            both = ours.merge(theirs, on=_LESION)
            if both.label.nunique() < 2:
                continue
            labels = both.label.to_numpy(np.int64)
            scores = both.score.to_numpy(), both.score_other.to_numpy()
            difference = comparison.paired(labels, *scores, both.patient_id.to_numpy(str))
            naive = comparison.paired(labels, *scores, tables.lesions(both))
            names = [{"run": run, "cohort": cohort} for run in (first, other)]
            areas = [roc.auc(labels, values) for values in scores]
            found.append(_record("paired", split, names, areas, difference, naive, margin))
    return found


def _unpaired(table: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    found = []
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
            found.append(_record("unpaired", "test", names, areas, difference, naive, margin))
    return found


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

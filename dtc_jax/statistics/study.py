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
from typing import Any

import pandas as pd

from dtc_jax.statistics import predictions_table


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the figures are made with.

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


def study(predictions: pd.DataFrame, settings: Settings | None = None) -> dict[str, Any]:
    """The study in figures; see the module's docstring.

    Args:
      predictions: rows of one or several runs; needed are patient_id, lesion_id, label and score,
        see `predictions_table`. The first run is the one that the others are compared with.
      settings: default `Settings()`.

    Raises:
      InputError: the table contradicts itself, see `predictions_table.complete`.
      UsageError: a setting is none of its choices.
    """
    settings = settings or Settings()
    table = predictions_table.complete(predictions, settings.threshold)
    return {"settings": dataclasses.asdict(settings), "notes": [], "runs": {}, "table": len(table)}

"""How well a segmenter detects lesions: Dice, surfaces, sensitivity, false positives, FROC.

Intervals are clustered by patient: t for means, Wilson's for a sensitivity, and for the FROC alone
a bootstrap of whole patients, or, if its resamples agree on 0 or 1, Wilson's with patients as
units. Of a single patient there is none but Wilson's, and no FROC has one below five patients. If
patients do not differ, a mean has none, and false positives the exact Poisson interval.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dtc_jax.statistics import bootstrap, rates, subgroups
from dtc_jax.statistics.estimate import ALIKE, UNIT, Estimate, mean

FALSE_POSITIVES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # per scan, as in the score of LUNA16
_POSITIVE = (0.0, math.inf)  # the ends of a distance or of a count


def detection(
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    candidates: pd.DataFrame,
    *,
    rounding: str = "nearest",
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of a segmenter on scans with reference masks.

    Args:
      scans: one row per scan: patient_id, scan_id; dice, surface_dice and hausdorff_95_mm (NaN if
        undefined); found_mm3 and true_mm3, the volumes of both masks; where lesions are known by
        their boxes alone, all but found_mm3 are NaN.
      lesions: one row per true lesion: patient_id, scan_id, diameter_mm, dice (NaN if it is known
        by its box alone), is_found and score (NaN if it was not found).
      candidates: one row per found lesion: patient_id, score, is_false.
      rounding: of diameters to the groups of the study, see `subgroups.diameter_groups`.
      resamples: of the bootstrap, for the FROC.
      seed: of the bootstrap.

    Returns:
      JSON values without NaN. Scans without a true lesion have no Dice: they are counted, as are
      those with a finding, and contribute only to false positives. Scans whose lesions were all
      missed are counted as well; where nothing was found, Dice is 0 and there is no Hausdorff
      distance.
    """
    empty = (scans.true_mm3 == 0).to_numpy()
    with_lesions = scans[~empty]
    patients = lesions.patient_id.to_numpy(str)
    hits = lesions.is_found.to_numpy(bool)
    return {
        "scans": len(scans),
        "patients": int(scans.patient_id.nunique()),
        "lesions": len(lesions),
        "empty_scans": int(empty.sum()),
        "empty_scans_with_finding": int((scans.found_mm3[empty] > 0).sum()),
        "scans_all_missed": int((~with_lesions.scan_id.isin(lesions.scan_id[hits])).sum()),
        "dice": _mean_of_known(with_lesions, "dice", UNIT),
        "surface_dice": _mean_of_known(with_lesions, "surface_dice", UNIT),
        "hausdorff_95_mm": _mean_of_known(with_lesions, "hausdorff_95_mm", _POSITIVE),
        "lesion_dice": _mean_of_known(lesions, "dice", UNIT),
        "sensitivity": rates.proportion(hits, patients).as_dict(),
        "sensitivity_by_diameter": _by_diameter(lesions, rounding),
        "false_positives_per_scan": false_positives(scans, candidates).as_dict(),
        "froc": froc(scans, lesions, candidates, resamples=resamples, seed=seed),
    }


def false_positives(scans: pd.DataFrame, candidates: pd.DataFrame) -> Estimate:
    """Mean number of false positives per scan, over all scans; see `detection`.

    The interval is that of `estimate.mean`, of a ratio linearized at its value. Where patients do
    not differ, as where there is none, it is the exact Poisson interval (Garwood, Biometrika 1936)
    of a mean patient's number, with patients as units.
    """
    patients = scans.patient_id.to_numpy(str)
    names, owner = np.unique(patients, return_inverse=True)
    false = np.searchsorted(names, candidates.patient_id[candidates.is_false].to_numpy(str))
    rate = np.bincount(false, minlength=len(names)) / np.bincount(owner)  # [P]
    found = mean(rate[owner], patients, _POSITIVE)
    if found.value == 0 or found.interval == ALIKE:
        events = found.value * len(names)
        low = stats.chi2.ppf(0.025, 2 * events) / 2 / len(names) if events else 0.0
        high = stats.chi2.ppf(0.975, 2 * events + 2) / 2 / len(names)
        name = "poisson, patients as units"
        found = dataclasses.replace(found, low=float(low), high=float(high), interval=name)
    return found


def at_threshold(
    scans: pd.DataFrame, lesions: pd.DataFrame, candidates: pd.DataFrame
) -> dict[str, Any]:
    """Sensitivity and false positives of the findings whose score reaches their `threshold`.

    Args: see `detection`; lesions and candidates have the column threshold in addition.
    """
    hits = (lesions.is_found & (lesions.score >= lesions.threshold)).to_numpy(bool)
    kept = candidates[candidates.score >= candidates.threshold]
    return {
        "sensitivity": rates.proportion(hits, lesions.patient_id.to_numpy(str)).as_dict(),
        "false_positives_per_scan": false_positives(scans, kept).as_dict(),
    }


def threshold_for(false: np.ndarray, scores: np.ndarray, allowed: float) -> float:
    """The lowest threshold at or above which at most `allowed` false findings lie.

    It is the shortest decimal between two scores: whoever copies it gets these very findings.

    Args:
      false: scores of the false findings. # [N]
      scores: of all findings. # [M]
      allowed: how many false ones, over all scans.
    """
    count = math.floor(allowed + 1e-9)  # 1.4 x 45 is a little less than 63
    if len(false) <= count:
        return 0.0
    first_too_many = np.sort(false)[::-1][count]
    above = scores[scores > first_too_many]
    end = float(above.min()) if len(above) else math.inf
    return _between(float(first_too_many), end)


def _between(low: float, high: float) -> float:
    """The decimal with the fewest digits between two scores, below 1 if `low` is.

    It is the middle of the two, rounded, so that the rounding of a new score near one of them does
    not decide. Where no decimal lies between them, the number next to `low`.
    """
    top = min(high, 1.0) if low < 1.0 else high
    middles = (round((low + top) / 2, digits) for digits in range(1, 18))
    return next((x for x in middles if low < x < top), math.nextafter(low, math.inf))


def froc(
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    candidates: pd.DataFrame,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Sensitivity at thresholds that allow at most so many false positives per scan.

    Args: see `detection`.

    Returns:
      `points`, one for each of `FALSE_POSITIVES`, and their `mean` (the score of LUNA16, Setio et
      al., Medical Image Analysis 2017), each with its interval; a point with `threshold`, see
      `threshold_for`, None where none below 1 allows so few.
    """
    names, scan_owner = np.unique(scans.patient_id.to_numpy(str), return_inverse=True)
    thresholds = np.sort(lesions.score.dropna().unique())[::-1]  # the sensitivity changes only here
    n_scans = np.bincount(scan_owner, minlength=len(names))  # [P]
    lesion_owner = np.searchsorted(names, lesions.patient_id.to_numpy(str))
    n_lesions = np.bincount(lesion_owner, minlength=len(names))  # [P]
    false = candidates[candidates.is_false]
    hits = _at_least(lesions[lesions.score.notna()], thresholds, names)  # [P, K]
    hits = np.pad(hits, ((0, 0), (1, 0)))  # above the highest threshold nothing is found
    wrong = _at_least(false, thresholds, names)  # [P, K]

    def sensitivities(drawn: np.ndarray) -> np.ndarray:
        """Of resamples, given how often each patient is drawn. # [R, P] -> [R, points]"""
        with np.errstate(invalid="ignore"):
            sensitivity = (drawn @ hits) / (drawn @ n_lesions)[:, None]  # [R, 1 + K]
        allowed = (drawn @ wrong) / (drawn @ n_scans)[:, None]  # [R, K]
        steps = np.stack([(allowed <= rate).sum(axis=1) for rate in FALSE_POSITIVES], axis=1)
        return np.take_along_axis(sensitivity, steps, axis=1)

    value = sensitivities(np.ones((1, len(names))))[0]  # [points]
    chunks = bootstrap.draws(np.zeros(len(names)), names, resamples, seed)
    none = np.empty((0, len(value)))
    samples = np.concatenate([none, *(sensitivities(drawn) for drawn in chunks)])
    n = (len(lesions), len(names))  # and patients
    scores, wrong_scores = candidates.score.to_numpy(float), false.score.to_numpy(float)
    limits = [threshold_for(wrong_scores, scores, x * len(scans)) for x in FALSE_POSITIVES]
    return {
        "points": [
            {
                "false_positives_per_scan": rate,
                "threshold": limit if limit < 1 else None,
                **_estimate(*of, *n).as_dict(),
            }
            for rate, limit, of in zip(
                FALSE_POSITIVES, limits, zip(value, samples.T, strict=True), strict=True
            )
        ],
        "mean": _estimate(value.mean(), samples.mean(axis=1), *n).as_dict(),
    }


def _at_least(rows: pd.DataFrame, thresholds: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Rows of each patient with a score of at least each (descending) threshold. # [P, K]"""
    count = np.zeros((len(names), len(thresholds) + 1))
    first = np.searchsorted(-thresholds, -rows.score.to_numpy(float))  # first threshold reached
    owner = np.searchsorted(names, rows.patient_id.to_numpy(str))
    np.add.at(count, (owner, first), 1)
    return np.cumsum(count, axis=1)[:, :-1]


def _by_diameter(lesions: pd.DataFrame, rounding: str) -> list[dict[str, Any]]:
    """Sensitivity in each diameter group of the study, from the largest to the smallest."""
    group = subgroups.diameter_groups(lesions.diameter_mm.to_numpy(float), rounding)
    hits, patients = lesions.is_found.to_numpy(bool), lesions.patient_id.to_numpy(str)
    return [
        {"diameter": name, **rates.proportion(hits[group == i], patients[group == i]).as_dict()}
        for i, name in reversed(list(enumerate(subgroups.DIAMETERS)))
    ]


def _mean_of_known(table: pd.DataFrame, column: str, ends: tuple[float, float]) -> dict[str, Any]:
    known = table[table[column].notna()]
    return mean(known[column].to_numpy(), known.patient_id.to_numpy(str), ends).as_dict()


def _estimate(value: float, samples: np.ndarray, n: int, patients: int) -> Estimate:
    """The share `value` with the interval of its resamples [R]."""
    if value in (0, 1) and len(samples) and np.ptp(samples) == 0:
        low, high = rates.wilson(float(value), patients)
        return Estimate(float(value), low, high, n, patients, "wilson, patients as units")
    return bootstrap.estimate(value, samples, n, patients)

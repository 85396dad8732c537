"""How well a segmenter detects lesions: Dice, surfaces, sensitivity, false positives, FROC.

Intervals come from a bootstrap of whole patients. If all resamples agree, patients are the units of
another interval: Wilson's for a sensitivity of 0 or 1, the exact Poisson interval if there is no
false positive at all. A single patient has no interval.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics import bootstrap, rates, subgroups
from dtc_jax.statistics.estimate import Estimate

FALSE_POSITIVES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # per scan, as in the score of LUNA16


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
      resamples: of the bootstrap.
      seed: of the bootstrap.

    Returns:
      JSON values without NaN. Scans without a true lesion have no Dice: they are counted, as are
      those with a finding, and contribute only to false positives. Scans whose lesions were all
      missed are counted as well; where nothing was found, Dice is 0 and there is no Hausdorff
      distance.
    """
    bootstrap_args = {"resamples": resamples, "seed": seed}
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
        "dice": _mean_of_known(with_lesions, "dice", **bootstrap_args),
        "surface_dice": _mean_of_known(with_lesions, "surface_dice", **bootstrap_args),
        "hausdorff_95_mm": _mean_of_known(with_lesions, "hausdorff_95_mm", **bootstrap_args),
        "lesion_dice": _mean_of_known(lesions, "dice", **bootstrap_args),
        "sensitivity": _share(hits, patients, **bootstrap_args),
        "sensitivity_by_diameter": _by_diameter(lesions, rounding, **bootstrap_args),
        "false_positives_per_scan": false_positives(scans, candidates, **bootstrap_args).as_dict(),
        "froc": froc(scans, lesions, candidates, **bootstrap_args),
    }


def false_positives(
    scans: pd.DataFrame, candidates: pd.DataFrame, *, resamples: int, seed: int
) -> Estimate:
    """Mean number of false positives per scan, over all scans; see `detection`."""
    false = candidates.patient_id[candidates.is_false].to_numpy(str)
    owners = np.concatenate([scans.patient_id.to_numpy(str), false])
    values = np.zeros((len(owners), 2))  # false positives, scans
    values[len(scans) :, 0] = values[: len(scans), 1] = 1
    if not false.size and len(scans):
        patients = scans.patient_id.nunique()
        high = -math.log(0.025) / patients
        return Estimate(0.0, 0.0, high, len(scans), patients, "poisson, patients as units")
    return _ratio(values, owners, len(scans), resamples, seed)


def at_threshold(
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    candidates: pd.DataFrame,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Sensitivity and false positives of the findings whose score reaches their `threshold`.

    Args: see `detection`; lesions and candidates have the column threshold in addition.
    """
    bootstrap_args = {"resamples": resamples, "seed": seed}
    hits = (lesions.is_found & (lesions.score >= lesions.threshold)).to_numpy(bool)
    kept = candidates[candidates.score >= candidates.threshold]
    return {
        "sensitivity": _share(hits, lesions.patient_id.to_numpy(str), **bootstrap_args),
        "false_positives_per_scan": false_positives(scans, kept, **bootstrap_args).as_dict(),
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
    samples = np.concatenate([sensitivities(drawn) for drawn in chunks])
    n = (len(lesions), len(names))  # and patients
    scores, wrong_scores = candidates.score.to_numpy(float), false.score.to_numpy(float)
    limits = [threshold_for(wrong_scores, scores, x * len(scans)) for x in FALSE_POSITIVES]
    return {
        "points": [
            {
                "false_positives_per_scan": rate,
                "threshold": limit if limit < 1 else None,
                **_estimate(*of, *n, is_share=True).as_dict(),
            }
            for rate, limit, of in zip(
                FALSE_POSITIVES, limits, zip(value, samples.T, strict=True), strict=True
            )
        ],
        "mean": _estimate(value.mean(), samples.mean(axis=1), *n, is_share=True).as_dict(),
    }


def _at_least(rows: pd.DataFrame, thresholds: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Rows of each patient with a score of at least each (descending) threshold. # [P, K]"""
    count = np.zeros((len(names), len(thresholds) + 1))
    first = np.searchsorted(-thresholds, -rows.score.to_numpy(float))  # first threshold reached
    owner = np.searchsorted(names, rows.patient_id.to_numpy(str))
    np.add.at(count, (owner, first), 1)
    return np.cumsum(count, axis=1)[:, :-1]


def _by_diameter(
    lesions: pd.DataFrame, rounding: str, *, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Sensitivity in each diameter group of the study, from the largest to the smallest."""
    group = subgroups.diameter_groups(lesions.diameter_mm.to_numpy(float), rounding)
    hits, patients = lesions.is_found.to_numpy(bool), lesions.patient_id.to_numpy(str)
    return [
        {
            "diameter": name,
            **_share(hits[group == i], patients[group == i], resamples=resamples, seed=seed),
        }
        for i, name in reversed(list(enumerate(subgroups.DIAMETERS)))
    ]


def _share(hits: np.ndarray, patients: np.ndarray, *, resamples: int, seed: int) -> dict[str, Any]:
    if not len(hits) or hits.all() or not hits.any():
        return rates.proportion(hits, patients).as_dict()
    return _mean(hits, patients, resamples=resamples, seed=seed)


def _mean_of_known(table: pd.DataFrame, column: str, **bootstrap_args: int) -> dict[str, Any]:
    known = table[table[column].notna()]
    return _mean(known[column], known.patient_id, **bootstrap_args)


def _mean(values: Any, patients: Any, *, resamples: int, seed: int) -> dict[str, Any]:
    """The mean over rows with the interval of the patient bootstrap, as JSON values."""
    values = np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)
    return _ratio(values, np.asarray(patients, str), len(values), resamples, seed).as_dict()


def _ratio(values: np.ndarray, patients: np.ndarray, n: int, resamples: int, seed: int) -> Estimate:
    """Sum of the first column divided by the sum of the second. # [N, 2]"""
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, "none: nothing to count")
    sums = bootstrap.sums(values, np.zeros(len(values)), patients, resamples, seed)  # [R, 2]
    above, below = values.sum(axis=0)
    return _estimate(above / below, sums[:, 0] / sums[:, 1], n, len(np.unique(patients)))


def _estimate(
    value: float, samples: np.ndarray, n: int, patients: int, is_share: bool = False
) -> Estimate:
    """`value` with the interval of its resamples [R]."""
    if patients < 2:
        return Estimate(float(value), math.nan, math.nan, n, patients, "none: a single patient")
    if is_share and value in (0, 1) and np.ptp(samples) == 0:
        low, high = rates.wilson(float(value), patients)
        return Estimate(float(value), low, high, n, patients, "wilson, patients as units")
    return bootstrap.estimate(value, samples, n, patients)

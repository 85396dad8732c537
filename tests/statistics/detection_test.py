"""Detection figures against counting by hand and resampling patients one by one."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dtc_jax.statistics import detection as detection_lib
from dtc_jax.statistics.detection import FALSE_POSITIVES, detection


def _tables(seed=0, patients=30) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Scans, true lesions and found lesions of a made-up segmenter."""
    rng = np.random.default_rng(seed)
    scans, lesions, candidates = [], [], []
    for patient in (f"p{i}" for i in range(patients)):
        skill = rng.uniform(0.2, 0.9)
        for number in range(rng.integers(1, 3)):
            scan = f"{patient}-{number}"
            n = rng.integers(0, 6)
            is_found = rng.random(n) < skill
            scores = np.where(is_found, rng.uniform(0.5, 1, n).round(2), np.nan)
            dice = np.where(is_found, rng.uniform(0.5, 1, n), 0)
            diameters = rng.uniform(2, 14, n)
            for values in zip(diameters, dice, is_found, scores, strict=True):
                row = dict(zip(("diameter_mm", "dice", "is_found", "score"), values, strict=True))
                lesions.append({"patient_id": patient, "scan_id": scan, **row})
            candidates += [(patient, score, False) for score in scores[is_found]]
            false = rng.uniform(0.5, 0.95, rng.poisson(1.5)).round(2)
            candidates += [(patient, score, True) for score in false]
            found_mm3 = 50.0 * (is_found.sum() + len(false))
            undefined = n == 0
            scans.append(
                {
                    "patient_id": patient,
                    "scan_id": scan,
                    "dice": np.nan if undefined else rng.uniform() * is_found.any(),
                    "surface_dice": np.nan if undefined else rng.uniform() * is_found.any(),
                    "hausdorff_95_mm": rng.uniform(1, 9) if n and found_mm3 else np.nan,
                    "found_mm3": found_mm3,
                    "true_mm3": 70.0 * n,
                }
            )
    named = pd.DataFrame(candidates, columns=["patient_id", "score", "is_false"])
    return pd.DataFrame(scans), pd.DataFrame(lesions), named


def test_figures_are_those_counted_by_hand():
    scans, lesions, candidates = _tables()
    found = detection(scans, lesions, candidates, resamples=50)
    full = scans[scans.true_mm3 > 0]
    assert found["scans"] == len(scans)
    assert found["empty_scans"] == len(scans) - len(full) > 0
    nothing_there = scans[scans.true_mm3 == 0]
    assert found["empty_scans_with_finding"] == (nothing_there.found_mm3 > 0).sum() > 0
    assert found["dice"]["value"] == pytest.approx(full.dice.mean())
    assert found["dice"]["n"] == len(full)
    assert found["lesion_dice"]["value"] == pytest.approx(lesions.dice.mean())
    assert found["hausdorff_95_mm"]["n"] == full.hausdorff_95_mm.notna().sum()
    assert found["sensitivity"]["value"] == pytest.approx(lesions.is_found.mean())
    per_scan = candidates.is_false.sum() / len(scans)
    assert found["false_positives_per_scan"]["value"] == pytest.approx(per_scan)
    assert found["false_positives_per_scan"]["n"] == len(scans)
    groups = found["sensitivity_by_diameter"]
    assert [one["diameter"] for one in groups][::6] == ["≥ 10 mm", "≤ 4 mm"]
    assert sum(one["n"] for one in groups) == len(lesions)
    nine = lesions[(lesions.diameter_mm >= 8.5) & (lesions.diameter_mm < 9.5)]
    assert groups[1]["value"] == pytest.approx(nine.is_found.mean())
    missed = [not lesions.is_found[lesions.scan_id == scan].any() for scan in full.scan_id]
    assert found["scans_all_missed"] == sum(missed) > (full.found_mm3 == 0).sum()
    json.dumps(found, allow_nan=False)


def test_froc_allows_no_more_false_positives_than_it_says():
    scans, lesions, candidates = _tables()
    found = detection(scans, lesions, candidates, resamples=20)["froc"]
    scores = np.append(np.inf, lesions.score.dropna())
    for point in found["points"]:
        allowed = [
            (lesions.score >= t).mean()
            for t in scores
            if (candidates.score[candidates.is_false] >= t).sum() / len(scans)
            <= point["false_positives_per_scan"]
        ]
        assert point["value"] == pytest.approx(max(allowed))
        assert point["low"] <= point["value"] <= point["high"]
        reached = lesions.is_found & (lesions.score >= point["threshold"])
        assert reached.mean() == point["value"]
        false = candidates[candidates.is_false & (candidates.score >= point["threshold"])]
        assert len(false) / len(scans) <= point["false_positives_per_scan"]
    assert [one["false_positives_per_scan"] for one in found["points"]] == list(FALSE_POSITIVES)
    values = [one["value"] for one in found["points"]]
    assert values[0] < values[-1] == pytest.approx(lesions.is_found.mean())
    assert found["mean"]["value"] == pytest.approx(np.mean(values))


def test_a_threshold_that_is_copied_as_it_is_printed_keeps_the_same_findings():
    false = np.array([0.9999993, 0.99999937, 0.4, 1.0], np.float32).astype(float)
    scores = np.append(false, np.float32(0.99999975).astype(float))
    for allowed in (1, 2, 3):
        threshold = detection_lib.threshold_for(false, scores, allowed)
        assert (false >= threshold).sum() == allowed
        assert float(f"{threshold}") == threshold < 1
        assert len(f"{threshold}") <= 11
    above_all = detection_lib.threshold_for(false, scores, 0)
    assert above_all > 1  # none below 1 keeps the last false one out
    assert detection_lib.threshold_for(false, scores, 4) == 0


@pytest.mark.parametrize(("rate", "scans"), [(1.4, 45), (2.3, 50), (4.1, 30), (4.6, 25)])
def test_a_rate_a_scan_that_gives_a_whole_number_allows_as_many(rate, scans):
    false = np.linspace(0.001, 0.999, 200)
    threshold = detection_lib.threshold_for(false, false, rate * scans)
    assert (false >= threshold).sum() == round(rate * scans)


def test_intervals_are_those_of_drawing_whole_patients():
    scans, lesions, candidates = _tables()
    found = detection(scans, lesions, candidates, resamples=4000)
    rng = np.random.default_rng(1)
    names = scans.patient_id.unique()
    by_patient = [dict(list(table.groupby("patient_id"))) for table in (scans, lesions, candidates)]
    none = [table.iloc[:0] for table in (scans, lesions, candidates)]
    expected = {"dice": [], "sensitivity": [], "false_positives_per_scan": [], "froc": []}
    for _ in range(300):
        drawn = rng.choice(names, len(names))
        some, true, pieces = (
            pd.concat([groups.get(name, empty) for name in drawn])
            for groups, empty in zip(by_patient, none, strict=True)
        )
        expected["dice"].append(some.dice.mean())
        expected["sensitivity"].append(true.is_found.mean())
        false = pieces.score[pieces.is_false].to_numpy()
        expected["false_positives_per_scan"].append(len(false) / len(some))
        few = [t for t in true.score.dropna() if (false >= t).sum() <= 0.5 * len(some)]
        expected["froc"].append((true.score >= min(few)).mean())
    froc = found["froc"]["points"][2]
    for name, samples in expected.items():
        ours = froc if name == "froc" else found[name]
        low, high = np.percentile(samples, [2.5, 97.5])
        width = high - low
        assert ours["low"] == pytest.approx(low, abs=0.2 * width), name
        assert ours["high"] == pytest.approx(high, abs=0.2 * width), name
    assert found["false_positives_per_scan"]["patients"] == froc["patients"] == len(names)
    assert found["sensitivity"]["patients"] == lesions.patient_id.nunique()


def test_a_share_of_all_or_none_has_an_interval_with_width():
    scans, lesions, candidates = _tables()
    for value in (0.0, 1.0):
        same = lesions.assign(is_found=bool(value))
        found = detection(scans, same, candidates, resamples=20)["sensitivity"]
        assert found["value"] == value
        assert found["high"] - found["low"] > 0.05
        assert "wilson" in found["interval"]


def test_scans_without_any_lesion_have_counts_and_no_averages():
    scans, lesions, candidates = _tables()
    empty = scans[scans.true_mm3 == 0]
    false = candidates[candidates.is_false & candidates.patient_id.isin(empty.patient_id)]
    found = detection(empty, lesions.iloc[:0], false, resamples=20)
    for name in ("dice", "surface_dice", "hausdorff_95_mm", "lesion_dice", "sensitivity"):
        assert found[name]["value"] is None
        assert found[name]["n"] == 0
    assert found["froc"]["mean"]["value"] is None
    assert found["false_positives_per_scan"]["value"] == pytest.approx(len(false) / len(empty))
    json.dumps(found, allow_nan=False)


def test_nothing_found_at_all_has_sensitivity_zero_at_every_rate():
    scans, lesions, candidates = _tables()
    missed = lesions.assign(is_found=False, score=np.nan, dice=0.0)
    found = detection(scans, missed, candidates.iloc[:0], resamples=20)
    assert [one["value"] for one in found["froc"]["points"]] == [0.0] * len(FALSE_POSITIVES)
    for point in found["froc"]["points"]:
        assert 0.05 < point["high"] < 0.2
    per_scan = found["false_positives_per_scan"]
    assert (per_scan["value"], per_scan["low"]) == (0.0, 0.0)
    # The most that would give no event among 30 patients in one of 40 draws.
    assert stats.poisson.pmf(0, per_scan["high"] * per_scan["patients"]) == pytest.approx(0.025)


def test_a_single_patient_has_figures_without_an_interval():
    scans, lesions, candidates = (one[one.patient_id == "p1"] for one in _tables(seed=3))
    assert len(lesions) > 1
    found = detection(scans, lesions, candidates, resamples=20)
    assert found["dice"]["value"] is not None
    assert found["dice"]["low"] is None
    assert found["froc"]["mean"]["value"] is not None
    assert found["froc"]["mean"]["low"] is None
    assert detection_lib.false_positives(scans, candidates).patients == 1


def _of_few(dice: list[float]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Patients of a scan each: one lesion found of two, and one false positive."""
    names = pd.DataFrame({"patient_id": [f"p{i}" for i in range(len(dice))]})
    scans = names.assign(scan_id=names.patient_id, dice=dice, surface_dice=dice)
    scans = scans.assign(hausdorff_95_mm=3.0, found_mm3=9.0, true_mm3=9.0)
    found, missed = (scans[["patient_id", "scan_id"]].assign(diameter_mm=6.0) for _ in range(2))
    found = found.assign(dice=dice, is_found=True, score=0.9)
    missed = missed.assign(dice=0.0, is_found=False, score=np.nan)
    candidates = [names.assign(score=0.5 + 0.4 * real, is_false=not real) for real in (0, 1)]
    return scans, pd.concat([found, missed]), pd.concat(candidates)


def test_patients_that_do_not_differ_are_not_proved_to_be_like_all_others():
    found = detection(*_of_few([0.5, 0.5]))
    for name in ("sensitivity", "false_positives_per_scan"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    # Two events in two scans: the exact Poisson interval.
    assert found["false_positives_per_scan"]["low"] == pytest.approx(0.242 / 2, abs=1e-3)
    assert found["false_positives_per_scan"]["high"] == pytest.approx(7.225 / 2, abs=1e-3)
    for name, why in (("dice", "none: no variance"), ("lesion_dice", "none: no variance")):
        assert (found[name]["low"], found[name]["interval"]) == (None, why)
    assert found["froc"]["mean"]["interval"] == "none: too few patients"


def test_a_mean_of_few_patients_has_the_interval_of_t():
    scans, lesions, candidates = _of_few([0.4, 0.6, 0.7, 0.9])
    found = detection(scans, lesions, candidates)["dice"]
    low, high = stats.t.interval(0.95, 3, scans.dice.mean(), stats.sem(scans.dice))
    assert found["low"] == pytest.approx(low)
    assert found["high"] == pytest.approx(high)
    candidates = pd.concat([candidates, candidates[candidates.patient_id == "p1"]])
    per_scan = detection(scans, lesions, candidates)["false_positives_per_scan"]
    counts = [1, 2, 1, 1]
    low, high = stats.t.interval(0.95, 3, np.mean(counts), stats.sem(counts))
    assert (per_scan["low"], per_scan["high"]) == pytest.approx((low, high))

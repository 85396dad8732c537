"""The figures of variants: with one seed those of the report, with several their means."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dtc_jax.statistics import ablation, comparison, detection, roc, study

LESIONS, PATCHES = ablation.Lesions(), ablation.Patches()


def predictions(run, noise, seed, lesions=90):
    """Three lesions a patient, in two folds, and some of another split and cohort."""
    rng = np.random.default_rng(seed)
    label = np.arange(lesions) // 3 % 2
    score = np.clip(0.5 + 0.2 * label - 0.1 + noise * rng.normal(size=lesions), 0, 1)
    ids = [f"P{i // 3:02}" for i in range(lesions)]
    table = pd.DataFrame(
        {
            "run": run,
            "cohort": np.where(np.arange(lesions) < 84, "primary", "external"),
            "split": np.where(np.arange(lesions) < 78, "test", "validation"),
            "fold": np.arange(lesions) // 39 % 2,
            "patient_id": ids,
            "lesion_id": [f"L{i}" for i in range(lesions)],
            "label": label,
            "score": score,
            "threshold": 0.5,
        }
    )
    return table.assign(decision=(score >= 0.5).astype(int))


@pytest.fixture(scope="module")
def tables():
    return {"good": predictions("good", 0.1, 0), "poor": predictions("poor", 0.4, 1)}


def compared(by_variant, base="good", margin=0.05):
    examples = {k: LESIONS.examples(v, "primary") for k, v in by_variant.items()}
    return ablation.compare(LESIONS, examples, base, margin)


def test_with_one_seed_the_figures_are_those_of_the_report(tables):
    found = compared({name: {0: table} for name, table in tables.items()})
    # The report compares its first run with the others.
    both = pd.concat([tables["poor"], tables["good"]], ignore_index=True)
    reported = study.study(both, study.Settings(resamples=200))
    for name in tables:
        section = reported["runs"][name]["primary"]["test"]
        assert found[name]["estimates"]["auc"] == section["auc"]
        assert found[name]["estimates"]["accuracy"] == section["rates"]["accuracy"]
    (entry,) = (
        entry
        for entry in reported["comparisons"]
        if (entry["kind"], entry["split"], entry["first"]["cohort"])
        == ("paired", "test", "primary")
    )
    for key in ("difference", "p", "non_inferiority"):
        assert found["poor"][key] == entry[key]
    assert "p" not in found["good"]


def test_several_seeds_give_their_mean_and_a_narrower_interval_of_its_noise(tables):
    by_seed = {seed: predictions("poor", 0.4, seed) for seed in range(1, 5)}
    row = compared({"poor": by_seed}, base="none")["poor"]
    single = list(row["single"].values())
    assert len(single) == 4
    assert row["estimates"]["auc"]["value"] == pytest.approx(np.mean(single))
    one = compared({"poor": {1: by_seed[1]}}, base="none")["poor"]["estimates"]
    width = [e["high"] - e["low"] for e in (row["estimates"]["auc"], one["auc"])]
    assert width[0] < width[1]
    hits = np.mean([(t.decision == t.label)[:78].mean() for t in by_seed.values()])
    assert row["estimates"]["accuracy"]["value"] == pytest.approx(hits)
    assert row["estimates"]["accuracy"]["n"] == 78


def test_the_interval_of_a_mean_of_equal_networks_is_that_of_one(tables):
    table = tables["poor"][:78]
    arrays = table.label.to_numpy(), table.score.to_numpy(), table.patient_id.to_numpy()
    one = roc.auc_interval(*arrays)
    three = roc.auc_interval(arrays[0], np.stack([arrays[1]] * 3), arrays[2])
    for name in ("value", "low", "high"):
        assert getattr(three, name) == pytest.approx(getattr(one, name), rel=1e-12)


def test_variants_are_compared_on_the_seeds_and_the_examples_that_both_have(tables):
    relabelled = tables["poor"].assign(label=lambda t: t.label.where(t.lesion_id != "L0", 1))
    relabelled["decision"] = tables["poor"].decision
    base = {0: tables["good"], 1: predictions("good", 0.1, 5)}
    found = compared({"good": base, "poor": {1: relabelled[relabelled.lesion_id != "L9"]}})
    assert found["poor"]["seeds"] == 1
    assert found["poor"]["compared"] == 76  # not L9, and not L0, whose label differs
    assert found["poor"]["difference"]["n"] == 76


def test_holm_covers_all_variants(tables):
    by_variant = {"good": {0: tables["good"]}}
    by_variant |= {f"v{i}": {0: predictions("v", 0.2, i)} for i in range(4)}
    found = compared(by_variant)
    names = [f"v{i}" for i in range(4)]
    expected = comparison.holm(np.array([found[name]["p"] for name in names]))
    assert [found[name]["p_holm"] for name in names] == pytest.approx(expected)
    assert max(found[name]["p_holm"] / found[name]["p"] for name in names) == pytest.approx(4)


def cases(shift, seed):
    rng = np.random.default_rng(seed)
    true = np.where(np.arange(40) < 30, 20.0, 0.0)
    dice = np.where(true > 0, np.clip(0.5 + shift + 0.1 * rng.normal(size=40), 0, 1), np.nan)
    found = np.where(np.arange(40) < 36, 20.0, 0.0)
    return pd.DataFrame(
        {
            "cohort": "primary",
            "split": "test",
            "fold": 0,
            "patient_id": [f"P{i // 2}" for i in range(40)],
            "lesion_id": [f"L{i}" for i in range(40)],
            "true_voxels": true,
            "found_voxels": found,
            "overlap_voxels": np.where(np.arange(40) < 24, 10.0, 0.0),
            "dice": dice,
        }
    )


def test_a_segmenter_is_compared_by_dice():
    tables = {
        "base": {0: cases(0, 0), 1: cases(0, 1)},
        "better": {0: cases(0.2, 2), 1: cases(0.2, 3)},
    }
    examples = {k: PATCHES.examples(v, "primary") for k, v in tables.items()}
    found = ablation.compare(PATCHES, examples, "base", 0.1)
    of_base = found["base"]["estimates"]
    both = np.mean([table.dice.mean() for table in tables["base"].values()])
    assert of_base["dice"]["value"] == pytest.approx(both)
    assert of_base["dice"]["n"] == 30
    assert of_base["sensitivity"]["value"] == pytest.approx(24 / 30)
    assert of_base["empty_with_finding"]["value"] == pytest.approx(6 / 10)
    better = found["better"]
    assert better["difference"]["value"] == pytest.approx(0.2, abs=0.05)
    assert better["difference"]["low"] > 0
    assert better["p"] < 0.001
    assert better["non_inferiority"]["holds"]


@pytest.mark.parametrize("same", [0, 20])
def test_patches_with_other_voxels_of_the_lesion_are_not_compared(same):
    other = cases(0.2, 1)
    is_other = (other.true_voxels > 0) & (np.arange(40) >= same)
    other["true_voxels"] = other.true_voxels.where(~is_other, 19.0)
    tables = {"base": {0: cases(0, 0)}, "wide": {0: other}}
    examples = {k: PATCHES.examples(v, "primary") for k, v in tables.items()}
    found = ablation.compare(PATCHES, examples, "base", 0.1)["wide"]
    assert found["compared"] == same + 10  # the ten without a lesion are the same
    assert (found["p"] is None) == (same == 0)


def test_the_difference_of_means_is_the_one_sample_t_test_of_the_patients(tables):
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.1, 1, 20), rng.normal(0, 1, 20)
    found = comparison.paired_means(first / 10, second / 10, np.arange(20))
    known = stats.ttest_rel(first / 10, second / 10)
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval()
    assert (found.estimate.low, found.estimate.high) == pytest.approx((interval.low, interval.high))


def scans_of(seed, false):
    """Four scans with a lesion each, found in the first two, and so many false findings in each."""
    rng = np.random.default_rng(seed)
    ids = [f"P{i}" for i in range(4)]
    scans = {"dice": 0.5, "surface_dice": 0.5, "hausdorff_95_mm": 9.0, "found_mm3": 80.0}
    owners = np.repeat(ids, false)
    return {
        "scans": pd.DataFrame({"patient_id": ids, "scan_id": ids, **scans, "true_mm3": 100.0}),
        "lesions": pd.DataFrame(
            {
                "patient_id": ids,
                "scan_id": ids,
                "diameter_mm": 9.0,
                "dice": 0.5,
                "is_found": [True, True, False, False],
                "score": [0.9, 0.6, np.nan, np.nan],
            }
        ),
        "candidates": pd.DataFrame(
            {"patient_id": owners, "score": rng.uniform(0.5, 1, len(owners)), "is_false": True}
        ),
    }


def test_whole_scans_of_one_seed_have_the_figures_of_an_evaluation():
    tables = scans_of(0, [3, 0, 1, 2])
    found, evaluated = ablation.whole_scans([tables]), detection.detection(**tables)
    for name in ("sensitivity", "false_positives_per_scan"):
        assert found[name] == evaluated[name]


def test_whole_scans_of_several_seeds_count_each_scan_once():
    found = ablation.whole_scans([scans_of(0, [3, 0, 1, 2]), scans_of(1, [0, 0, 0, 2])])
    false = found["false_positives_per_scan"]
    assert (false["value"], false["n"], false["patients"]) == (1.0, 4, 4)  # 1.5 and 0.5
    by_patient = [1.5, 0, 0.5, 2]
    assert false["low"] == 0  # where that of t would be below
    assert false["high"] == pytest.approx(1 + stats.t.ppf(0.975, 3) * stats.sem(by_patient))
    assert (found["sensitivity"]["value"], found["sensitivity"]["n"]) == (0.5, 4)


def test_a_seed_that_finds_nothing_counts():
    nothing = scans_of(1, [0, 0, 0, 0])
    nothing["lesions"] = nothing["lesions"].assign(is_found=False, score=np.nan)
    found = ablation.whole_scans([scans_of(0, [3, 0, 1, 2]), nothing])
    assert found["false_positives_per_scan"]["value"] == 0.75
    assert found["sensitivity"]["value"] == 0.25
    both = ablation.whole_scans([nothing, nothing])["false_positives_per_scan"]
    assert (both["value"], both["low"], both["n"]) == (0, 0, 4)
    assert both["high"] > 0


def test_a_finding_below_the_threshold_is_none():
    tables = scans_of(0, [3, 0, 1, 2])
    for name in ("lesions", "candidates"):
        tables[name]["threshold"] = 0.7
    found = ablation.whole_scans([tables])
    kept = (tables["candidates"].score >= 0.7).sum() / 4
    assert 0 < kept < 1.5
    assert found["false_positives_per_scan"]["value"] == kept
    assert found["sensitivity"]["value"] == 0.25

"""The error budget: which lesions and scores each line is made of, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dtc_jax.statistics.error_budget import error_budget


@pytest.fixture
def lesions() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    label = np.tile([0, 1], 40)
    is_found = rng.random(80) < 0.7
    manual = np.clip(0.5 + 0.3 * (label - 0.5) + rng.normal(0, 0.2, 80), 0.01, 0.99)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i // 4}" for i in range(80)],
            "label": label,
            "threshold": 0.5,
            "is_found": is_found,
            "manual": manual,
            "perturbed": np.clip(manual + rng.normal(0, 0.1, 80), 0, 1),
            "automatic": np.where(is_found, np.clip(manual + rng.normal(0, 0.2, 80), 0, 1), np.nan),
            "dice_perturbed": rng.random(80),
            "dice_automatic": np.where(is_found, rng.random(80), np.nan),
        }
    )


def test_each_line_has_the_lesions_and_scores_it_names(lesions):
    regions = error_budget(lesions)["regions"]
    known = lesions[lesions.is_found]
    whole = lesions.automatic.fillna(-1.0)  # a missed lesion ranks below all
    expected = {
        "manual": (lesions.label, lesions.manual),
        "perturbed": (lesions.label, lesions.perturbed),
        "manual_of_found": (known.label, known.manual),
        "automatic": (known.label, known.automatic),
        "end_to_end": (lesions.label, whole),
    }
    assert {*regions} == {*expected}
    for name, (labels, scores) in expected.items():
        assert regions[name]["lesions"] == len(labels)
        assert regions[name]["auc"]["value"] == pytest.approx(metrics.roc_auc_score(labels, scores))
        accuracy = metrics.accuracy_score(labels, scores >= 0.5)
        assert regions[name]["accuracy"]["value"] == pytest.approx(accuracy)
    assert regions["perturbed"]["changed"] == 80
    assert regions["automatic"]["dice"]["value"] == pytest.approx(known.dice_automatic.mean())


def test_a_missed_refractory_lesion_costs_sensitivity(lesions):
    regions = error_budget(lesions)["regions"]
    positive = lesions[lesions.label == 1]
    hits = positive.is_found & (positive.automatic >= 0.5)
    assert regions["end_to_end"]["sensitivity"]["value"] == pytest.approx(hits.mean())


def test_differences_are_paired_and_the_cascade_counts(lesions):
    budget = error_budget(lesions)
    regions, differences = budget["regions"], budget["differences"]
    for name, (one, other) in {
        "perturbed - manual": ("perturbed", "manual"),
        "automatic - manual, of the lesions found": ("automatic", "manual_of_found"),
        "end_to_end - manual": ("end_to_end", "manual"),
    }.items():
        away = regions[one]["auc"]["value"] - regions[other]["auc"]["value"]
        assert differences[name]["value"] == pytest.approx(away)
        assert differences[name]["low"] < away < differences[name]["high"]
    refractory, avid = budget["cascade"]["refractory"], budget["cascade"]["avid"]
    assert refractory["lesions"] + avid["lesions"] == 80
    assert refractory["found"] + avid["found"] == lesions.is_found.sum()
    right = (lesions.automatic >= 0.5) == (lesions.label == 1)
    both = lesions.is_found & right
    assert refractory["found_and_right"] + avid["found_and_right"] == both.sum()


def test_nothing_found_leaves_the_automatic_region_without_figures(lesions):
    blind = lesions.assign(is_found=False, automatic=np.nan, dice_automatic=np.nan)
    budget = error_budget(blind)
    assert budget["regions"]["automatic"]["auc"]["value"] is None
    assert budget["regions"]["end_to_end"]["auc"]["value"] == 0.5
    assert budget["differences"]["automatic - manual, of the lesions found"] is None

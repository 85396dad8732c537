"""Subgroups: levels, rounding, "too few", and a test for levels that share patients."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.statistics import rates, roc, subgroups


def _table(n: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, n // 5, n)
    labels = rng.integers(0, 2, n)
    scores = 1 / (1 + np.exp(-labels - 0.7 * rng.normal(size=n // 5)[patient] - rng.normal(size=n)))
    return pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in patient],
            "lesion_id": [f"L{i}" for i in range(n)],
            "label": labels,
            "score": scores,
            "decision": (scores >= 0.5).astype(int),
            "diameter_mm": rng.uniform(2, 14, n),
            "center": np.array(["a", "b"])[patient % 2],
            "sex": np.array(["F", "male", ""])[patient % 3],
            "age": 30.0 + patient % 50,
        }
    )


@pytest.mark.parametrize(
    ("rounding", "groups"),
    [("nearest", [0, 0, 1, 1, 2, 5, 6, 6, np.nan]), ("down", [0, 0, 0, 1, 1, 5, 5, 6, np.nan])],
)
def test_diameter_groups(rounding, groups):
    diameters = np.array([1.0, 4.4, 4.5, 5.4, 5.5, 9.49, 9.5, 10.0, np.nan])
    np.testing.assert_array_equal(subgroups.diameter_groups(diameters, rounding), groups)


def test_an_unknown_rounding_is_refused():
    with pytest.raises(UsageError, match="Did you mean 'nearest'"):
        subgroups.diameter_groups(np.ones(1), "neares")


def test_levels_are_the_studys_and_hold_their_lesions():
    table = _table()
    found = {one["factor"]: one for one in subgroups.subgroups(table)}
    assert list(found) == ["diameter", "center", "sex", "age"]
    assert [level["level"] for level in found["diameter"]["levels"]] == [
        *("≤ 4 mm", "5 mm", "6 mm", "7 mm", "8 mm", "9 mm", "≥ 10 mm")
    ]
    assert sum(level["lesions"] for level in found["diameter"]["levels"]) == 600
    assert "halves up" in found["diameter"]["note"]
    female, male = found["sex"]["levels"]
    assert female["lesions"] + male["lesions"] == (table.sex != "").sum()
    rows = table[table.age < 55]
    young = found["age"]["levels"][0]
    expected = roc.auc_interval(rows.label, rows.score, rows.patient_id)
    assert young["auc"] == expected.as_dict()
    assert young["positives"] == rows.label.sum()


def test_a_level_with_under_five_lesions_of_a_class_has_words_in_place_of_numbers():
    table = _table()
    rare = table.index[(table.label == 1) & (table.center == "b")]
    table = table.drop(rare[4:])
    (found,) = (one for one in subgroups.subgroups(table) if one["factor"] == "center")
    many, few = found["levels"]
    assert many["note"] == ""
    assert (few["positives"], few["note"], few["auc"], few["accuracy"]) == (
        4,
        "too few",
        None,
        None,
    )
    assert found["interaction"]["p"] is None
    assert "fewer than two levels" in found["interaction"]["note"]


def test_a_lesion_that_several_folds_scored_counts_once():
    table = _table()
    few = table[(table.center == "a") | (table.label == 0)]
    few = pd.concat([few, table[(table.center == "b") & (table.label == 1)].head(4)])
    once, found = (
        next(one for one in subgroups.subgroups(rows) if one["factor"] == "center")["levels"]
        for rows in (few, pd.concat([few] * 5))
    )
    counts = ("lesions", "patients", "positives", "negatives", "note")
    assert [[level[key] for key in counts] for level in found] == [
        [level[key] for key in counts] for level in once
    ]
    assert (found[1]["positives"], found[1]["note"]) == (4, "too few")


def test_factors_without_a_column_are_absent():
    table = _table()[["patient_id", "lesion_id", "label", "score", "decision"]]
    assert subgroups.subgroups(table) == []


def _p(seed: int, gain: float) -> float:
    """P of a sample in which the lesions of one of three levels are `gain` easier."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(40), 6)
    level = rng.integers(0, 3, 240)
    labels = rng.integers(0, 2, 240)
    scores = (
        (1 + gain * (level == 0)) * labels + rng.normal(size=40)[patient] + rng.normal(size=240)
    )
    return subgroups.interaction(labels, scores, patient, [level == i for i in range(3)])["p"]


def test_interaction_rejects_as_often_as_it_says_and_finds_a_difference():
    equal = np.array([_p(seed, 0.0) for seed in range(300)])
    assert 0.01 < np.mean(equal < 0.05) < 0.09
    assert np.mean([_p(seed, 2.5) < 0.05 for seed in range(50)]) > 0.8


def test_no_interaction_is_tested_where_a_level_has_no_error():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    scores = labels + rng.normal(size=120)
    small = np.arange(120) >= 108
    scores[small] = 9 * labels[small] + rng.random(12)
    found = subgroups.interaction(labels, scores, np.arange(120), [~small, small])
    assert (found["p"], found["note"]) == (None, "no test: an AUC has no variance")


def test_no_interaction_is_tested_on_a_handful_of_patients():
    table = _table()
    table.patient_id = np.where(table.center == "a", "P1", table.patient_id)
    (found,) = (one for one in subgroups.subgroups(table) if one["factor"] == "center")
    assert found["interaction"]["p"] is None
    assert "a class has only 1 patient in a level" in found["interaction"]["note"]


def test_rates_of_a_size_group_have_their_own_n_and_interval():
    table = _table()
    (group,) = (one for one in subgroups.subgroups(table) if one["factor"] == "diameter")
    small = table[subgroups.diameter_groups(table.diameter_mm) == 0]
    found = group["levels"][0]
    expected = rates.rates(small.label, small.decision, small.patient_id)
    assert set(found["rates"]) == {"accuracy", "sensitivity", "specificity", "ppv", "npv"}
    for name, value in found["rates"].items():
        assert value == expected[name].as_dict()
    assert sum(found["confusion"].values()) == found["lesions"] == len(small)
    area = np.trapezoid(found["roc"]["tpr"], found["roc"]["fpr"])
    assert area == pytest.approx(found["auc"]["value"], abs=0.01)


def test_a_rate_of_few_lesions_has_no_figure_while_the_others_keep_theirs():
    table = _table().assign(diameter_mm=4.0)
    table = pd.concat([table[table.label == 1], table[table.label == 0].head(4)])
    (group,) = (one for one in subgroups.subgroups(table) if one["factor"] == "diameter")
    (level,) = group["levels"]
    assert level["auc"] is level["roc"] is level["rates"]["accuracy"] is None
    assert level["rates"]["specificity"] is None
    assert level["rates"]["sensitivity"]["n"] == level["positives"]

"""No patient on two sides, whatever the cohort; shares, strata and refusals as documented."""

import os
import pathlib

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from dtc_jax.cohort import manifest, splits
from dtc_jax.cohort.split_rule import Rule
from dtc_jax.errors import InputError, UsageError

KINDS = ("holdout", "kfold", "temporal")


def _split(**change) -> Rule:
    return Rule(**change)


def _cohort(patients: int = 120, seed: int = 0, both: float = 0.2) -> pd.DataFrame:
    """1 to 8 lesions a patient; 45 % refractory; a share of the patients has both classes."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in rng.permutation(patients):
        own = int(rng.random() < 0.45)
        for _ in range(rng.integers(1, 9)):
            label = rng.integers(2) if rng.random() < both else own
            rows.append((f"P{patient:03d}", float(label), "ABC"[patient % 3], float(patient)))
    table = pd.DataFrame(rows, columns=["patient_id", "label", "center", "scan_order"])
    return table.assign(lesion_id=[f"L{i:04d}" for i in range(len(table))])


def _joined(table: pd.DataFrame, **change) -> pd.DataFrame:
    known = table.drop(columns="split", errors="ignore")
    return splits.assign(table, _split(**change)).merge(known, on="lesion_id", how="left")


def _shares(rows: pd.DataFrame, column: str) -> dict[str, float]:
    by_split = rows.groupby("split")[column].nunique()
    return (by_split / by_split.sum()).to_dict()


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    st.lists(
        st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple), min_size=2, max_size=30
    ),
    st.sampled_from(KINDS),
    st.integers(2, 5),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_no_patient_leaks_and_the_order_of_rows_is_nothing(patients, kind, folds, seed, random):
    rows = [
        (f"P{i}", float(label), float(i % 7)) for i, own in enumerate(patients) for label in own
    ]
    table = pd.DataFrame(rows, columns=["patient_id", "label", "scan_order"])
    table["lesion_id"] = [f"L{i}" for i in range(len(table))]
    try:
        found = _joined(table, kind=kind, folds=folds, seed=seed)
    except InputError:
        # Only where a class has few patients, or all of it came early.
        fewest = min(sum(label in own for own in patients) for label in (0, 1))
        assert fewest < 8 or kind == "temporal"
        return
    for _, fold in found.groupby("fold"):
        assert sorted(fold.lesion_id) == sorted(table.lesion_id)
        assert (fold.groupby("patient_id").split.nunique() == 1).all()
        classes = fold.groupby("split").label.nunique()
        assert classes.to_dict() == {"train": 2, "validation": 2, "test": 2}
    shuffled = table.sample(frac=1, random_state=random.randrange(2**31))
    again = _joined(shuffled, kind=kind, folds=folds, seed=seed)
    assert splits.fingerprint(found) == splits.fingerprint(again)
    if kind == "kfold":
        tested = found[found.split == "test"]
        assert sorted(tested.lesion_id) == sorted(table.lesion_id)
        assert sorted(found.fold.unique()) == list(range(folds))


def test_holdout_is_seven_to_three_stratified_with_fifteen_per_cent_of_development():
    table = _cohort(496)
    found = _joined(table)
    lesions = found.split.value_counts(normalize=True)
    patients = _shares(found, "patient_id")
    for share in (lesions, patients):
        assert share["test"] == pytest.approx(0.3, abs=0.03)
        assert share["validation"] == pytest.approx(0.15 * 0.7, abs=0.02)
    assert found.groupby("split").label.mean().to_numpy() == pytest.approx(
        table.label.mean(), abs=0.01
    )


def test_other_fractions_and_small_cohorts_come_near():
    for fraction in (0.1, 0.25, 1 / 3, 0.5):
        share = _joined(_cohort(200), test_fraction=fraction).split.eq("test").mean()
        assert share == pytest.approx(fraction, abs=0.03)
    for seed in range(4):
        share = _joined(_cohort(16), seed=seed).split.eq("test").mean()
        assert share == pytest.approx(0.3, abs=0.1)


def test_the_seed_changes_the_split_and_the_largest_patient_is_not_always_tested():
    table = _cohort(60)
    largest = table.patient_id.value_counts().idxmax()
    found = [_joined(table, seed=seed) for seed in range(12)]
    assert len({splits.fingerprint(rows) for rows in found}) == 12
    sides = {rows[rows.patient_id == largest].split.iloc[0] for rows in found}
    assert {"train", "test"} <= sides


def test_rows_come_in_the_tables_order_without_the_unlabelled():
    table = _cohort(60).sample(frac=1, random_state=0)
    table.loc[table.index[:20], "label"] = np.nan
    labelled = table[table.label.notna()].lesion_id.tolist()
    assert splits.assign(table, _split()).lesion_id.tolist() == labelled
    assert splits.assign(table, _split(kind="kfold", folds=3)).lesion_id.tolist() == labelled * 3
    assert splits.assign(table, _split()).columns.tolist() == ["lesion_id", "fold", "split"]


def test_temporal_tests_on_the_latest_patients():
    table = _cohort(100)
    table.loc[table.patient_id == "P000", "scan_order"] += np.arange(
        (table.patient_id == "P000").sum()
    )
    found = _joined(table, kind="temporal")
    first = found.groupby("patient_id").agg(first=("scan_order", "min"), split=("split", "first"))
    assert set(first.index[first.split == "test"]) == {f"P{i:03d}" for i in range(70, 100)}
    assert first["first"][first.split != "test"].max() < first["first"][first.split == "test"].min()


def test_one_centre_is_left_out():
    found = _joined(_cohort(), kind="center", center="B")
    assert set(found[found.split == "test"].center) == {"B"}
    assert set(found[found.split != "test"].center) == {"A", "C"}


def test_a_given_split_stands_and_only_its_gap_is_drawn():
    table = _joined(_cohort())[["lesion_id", "patient_id", "label", "split"]]
    found = splits.assign(table, _split(kind="column"))
    assert found.split.tolist() == table.split.tolist()
    merged = table.assign(split=table.split.replace("validation", "train"))
    drawn = splits.assign(merged, _split(kind="column")).merge(table, on="lesion_id")
    assert (drawn.split_x == "test").equals(drawn.split_y == "test")
    assert (drawn.groupby("patient_id").split_x.nunique() == 1).all()
    development = drawn[drawn.split_x != "test"]
    assert (development.split_x == "validation").mean() == pytest.approx(0.15, abs=0.03)


def test_a_patient_on_two_sides_is_refused_by_name():
    table = _joined(_cohort())[["lesion_id", "patient_id", "label", "split"]]
    patient = table.patient_id.value_counts().idxmax()
    own = table.index[table.patient_id == patient]
    table.loc[own, "split"] = "train"
    table.loc[own[0], "split"] = "test"
    with pytest.raises(InputError, match=f"more than one side: {patient}\\. "):
        splits.assign(table, _split(kind="column"))
    # To be measured, not used: by lesion it is allowed.
    assert len(splits.assign(table, _split(kind="column", unit="lesion"))) == len(table)
    moved = _cohort()
    moved.loc[moved.patient_id == "P001", "center"] = "A"
    moved.loc[moved.index[moved.patient_id == "P001"][:1], "center"] = "B"
    assert (moved.patient_id == "P001").sum() > 1
    with pytest.raises(InputError, match="more than one side: P001"):
        splits.assign(moved, _split(kind="center", center="B"))


def test_a_split_by_lesion_leaks_as_the_study_did():
    table = _cohort(150)
    found = _joined(table, unit="lesion")
    trained = set(found[found.split == "train"].patient_id)
    test = found[found.split == "test"]
    assert test.patient_id.isin(trained).mean() > 0.8
    assert found.groupby("split").label.mean().to_numpy() == pytest.approx(
        table.label.mean(), abs=0.02
    )


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("kind", ["holdout", pytest.param("kfold", marks=pytest.mark.extras)])
def test_lesions_without_patients_are_patients_of_their_own(kind, empty):
    table = _cohort(40)
    table["patient_id"] = np.nan if empty else table.lesion_id
    found = splits.assign(table, _split(kind=kind, folds=4))
    assert set(found.split) == set(manifest.SPLITS)
    by_lesion = splits.assign(_cohort(40), _split(kind=kind, folds=4, unit="lesion"))
    assert splits.fingerprint(found) == splits.fingerprint(by_lesion)


def _one_class(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=1.0)


@pytest.mark.parametrize(
    ("change", "split", "error", "words"),
    [
        (lambda t: t.head(0), {}, InputError, "no lesion has a label"),
        (_one_class, {}, InputError, r"RAI-avid \(0\) are too few .* 0 patients"),
        (_one_class, {"kind": "kfold", "folds": 5}, UsageError, r"0 patients .* RAI-avid"),
        (
            lambda t: t[t.patient_id < "P004"],
            {"kind": "kfold", "folds": 5},
            UsageError,
            "4 patients",
        ),
        (lambda t: t, {"kind": "kfold", "folds": 1}, UsageError, "folds is 1, .*use 2 to"),
        (lambda t: t, {"kind": "random"}, UsageError, "kind is 'random'; it must be one of"),
        (lambda t: t, {"unit": "patients"}, UsageError, "Did you mean 'patient'"),
        (lambda t: t, {"test_fraction": 1.0}, UsageError, "test_fraction is 1.0"),
        (lambda t: t, {"validation_fraction": 0}, UsageError, "validation_fraction is 0"),
        (lambda t: t, {"seed": -1}, UsageError, "seed is -1"),
        (lambda t: t, {"kind": "center"}, UsageError, "center is ''; it must be one of A, B, C"),
        (
            lambda t: t.assign(center="A"),
            {"kind": "center", "center": "A"},
            InputError,
            "'A' is the only centre",
        ),
        (
            lambda t: t.assign(label=t.label.mask(t.center == "B", 0)),
            {"kind": "center", "center": "B"},
            InputError,
            r"none of the \d+ lesions for test \(fold 0\) is RAI-refractory",
        ),
        (
            lambda t: t.assign(scan_order=t.scan_order.mask(t.lesion_id == "L0003")),
            {"kind": "temporal"},
            InputError,
            r"scan_order is empty for 1 of \d+ labelled lesions \(L0003\)",
        ),
        (lambda t: t, {"kind": "column"}, InputError, "split is empty"),
        (
            lambda t: t.assign(split="val"),
            {"kind": "column"},
            UsageError,
            "'val'; it must be one of train",
        ),
        (
            lambda t: t.assign(split="train"),
            {"kind": "column"},
            InputError,
            "the 0 lesions for test",
        ),
        (
            lambda t: t.assign(split="test"),
            {"kind": "column"},
            InputError,
            "the 0 lesions for train",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(change, split, error, words):
    with pytest.raises(error, match=words):
        splits.assign(change(_cohort()), _split(**split))


def test_the_fingerprint_sees_lesions_folds_and_splits_and_nothing_else():
    found = splits.assign(_cohort(60), _split(kind="kfold", folds=3))
    same = found.sample(frac=1, random_state=0).assign(age=50, fold=found.fold.astype("int8"))
    assert splits.fingerprint(same) == splits.fingerprint(found)
    for change in ({"fold": found.fold + 1}, {"split": found.split[::-1].to_numpy()}):
        assert splits.fingerprint(found.assign(**change)) != splits.fingerprint(found)


@pytest.mark.extras
@pytest.mark.skipif("DTC_JAX_DATA" not in os.environ, reason="DTC_JAX_DATA names no data folder")
def test_the_real_nodules_are_split_in_five_stratified_folds():
    path = pathlib.Path(os.environ["DTC_JAX_DATA"], "lidc_nodules", "lesions.csv")
    found = _joined(manifest.read_manifest(path), kind="kfold", folds=5)
    assert len(found) == 5 * 690
    assert (found.groupby(["fold", "patient_id"]).split.nunique() == 1).all()
    prevalence = found.groupby(["fold", "split"]).label.mean()
    assert prevalence.to_numpy() == pytest.approx(336 / 690, abs=0.03)


def test_the_test_may_be_another_cohort_alone():
    rows = [
        (f"{cohort}{i}", cohort, i % 2, side)
        for cohort, sides in (("primary", ("train", "validation")), ("external", ("test",)))
        for side in sides
        for i in range(4)
    ]
    table = pd.DataFrame(rows, columns=["patient_id", "cohort", "label", "split"])
    table["patient_id"] += table.split
    table["lesion_id"] = table.patient_id
    found = Rule(kind="column").assign(table)
    pd.testing.assert_series_equal(
        found.set_index("lesion_id").split.sort_index(),
        table.set_index("lesion_id").split.sort_index(),
    )
    alone = table[table.cohort == "primary"]
    with pytest.raises(InputError, match="none of the 0 lesions for test"):
        Rule(kind="column").assign(alone)

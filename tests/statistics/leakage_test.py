import numpy as np
import pandas as pd
import pytest
from sklearn import neighbors

from dtc_jax.statistics import comparison, leakage
from dtc_jax.statistics.estimate import mean


def cohort(seed=0, patients=40, lesions=4):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), lesions)
    label = (patient % 2).astype(int)
    return rng, patient, label, patient % 5


def test_features_of_noise_are_at_chance_and_those_of_the_patient_are_not():
    rng, patient, label, fold = cohort()
    noise = rng.normal(size=(len(patient), 16))
    found = leakage.probe(noise, patient, label, fold)
    assert found["chance"]["low"] <= found["found"] <= found["chance"]["high"]
    assert found["p"] > 0.025
    own = noise + 3 * rng.normal(size=(40, 16))[patient]
    known = leakage.probe(own, patient, label, fold)
    assert known["found"] > 0.95
    assert known["p"] < 0.001
    assert (known["lesions"], known["patients"]) == (160, 40)


def test_telling_labels_apart_is_not_telling_patients_apart():
    rng, patient, label, fold = cohort(1)
    features = rng.normal(size=(len(patient), 4)) + 20 * label[:, None]
    found = leakage.probe(features, patient, label, fold)
    assert found["chance"]["low"] <= found["found"] <= found["chance"]["high"]
    within_all = 3 / (len(patient) / 5 - 1)  # chance, if labels did not matter
    assert found["chance"]["value"] > 1.5 * within_all


def test_chance_is_that_of_lesions_with_a_sibling_however_many_are_single():
    patient = np.concatenate([np.repeat(np.arange(6), 2), np.arange(6, 54)])
    rng, count = np.random.default_rng(3), len(patient)
    found = leakage.probe(rng.normal(size=(count, 4)), patient, np.zeros(count), np.zeros(count))
    assert found["lesions"] == 12
    # The one sibling of a lesion is any of the others with equal probability.
    assert found["chance"]["value"] == pytest.approx(1 / (count - 1), rel=0.15)


def test_the_neighbour_is_scikit_learns():
    rng, patient, label, _ = cohort(2)
    features = rng.normal(size=(len(patient), 8))
    scaled = (features - features.mean(0)) / features.std(0)
    model = neighbors.NearestNeighbors(n_neighbors=2, metric="cosine").fit(scaled)
    nearest = model.kneighbors(scaled, return_distance=False)[:, 1]
    found = leakage.probe(features, patient, label, np.zeros(len(patient)), draws=10)
    assert found["found"] == pytest.approx(np.mean(patient[nearest] == patient))


def test_neighbours_are_sought_in_the_fold_and_single_lesions_do_not_count():
    patient = np.array([0, 0, 1, 2, 0])
    fold = np.array([0, 0, 0, 0, 1])  # the last lesion is alone in its fold
    features = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    found = leakage.probe(features, patient, np.zeros(5), fold, draws=10)
    assert (found["lesions"], found["patients"], found["found"]) == (2, 1, 1.0)
    alone = leakage.probe(features, np.arange(5), np.zeros(5), fold, draws=10)
    assert alone["found"] is None


def predictions(split_of, scores) -> pd.DataFrame:
    """Two folds of eight lesions of four patients; `split_of(fold, patient, lesion)`."""
    rows = [
        {
            "fold": fold,
            "patient_id": f"P{patient}",
            "lesion_id": f"P{patient}-{lesion}",
            "label": patient % 2,
            "split": split_of(fold, patient, lesion),
            "score": scores[patient, lesion],
        }
        for fold in (0, 1)
        for patient in range(4)
        for lesion in range(2)
    ]
    return pd.DataFrame(rows)


def test_the_gap_is_paired_on_the_same_lesions_and_positive_where_lesions_flatter():
    rng = np.random.default_rng(0)
    label = np.arange(4)[:, None] % 2
    poor, good = rng.random((4, 2)), 0.3 * rng.random((4, 2)) + 0.5 * label
    by_lesion = predictions(
        lambda fold, patient, lesion: "test" if lesion == fold else "train", good
    )
    by_patient = predictions(
        lambda fold, patient, lesion: "test" if patient // 2 == fold else "train", poor
    )
    found = leakage.gap(by_lesion, by_patient)
    expected = comparison.paired(
        np.repeat(label.ravel(), 2), good.ravel(), poor.ravel(), np.repeat(np.arange(4), 2)
    )
    assert found["auc_gap"]["n"] == 8
    assert found["auc_gap"]["value"] == pytest.approx(expected.estimate.value)
    assert found["auc_gap"]["value"] > 0
    assert found["siblings"] == 1.0
    assert leakage.gap(by_patient, by_lesion)["siblings"] == 0.0


def test_the_gap_in_dice_is_the_mean_difference_of_the_same_patches():
    rng = np.random.default_rng(0)
    poor, good = rng.random((4, 2)), rng.random((4, 2)) + 0.2
    good[3, 1] = np.nan  # a patch without a lesion
    by_lesion = predictions(
        lambda fold, patient, lesion: "test" if lesion == fold else "train", good
    ).rename(columns={"score": "dice"})
    by_patient = predictions(
        lambda fold, patient, lesion: "test" if patient // 2 == fold else "train", poor
    ).rename(columns={"score": "dice"})
    found = leakage.dice_gap(by_lesion, by_patient)
    difference = (good - poor).ravel()[:-1]
    expected = mean(difference, np.repeat(np.arange(4), 2)[:-1])
    assert found["dice_gap"]["n"] == 7
    assert found["dice_gap"]["value"] == pytest.approx(np.mean(difference))
    assert found["dice_gap"]["low"] == pytest.approx(expected.low)
    assert found["siblings"] == 1.0

"""What is taken from the picture, and that the score follows where the network looks."""

import dataclasses

import numpy as np
import pytest
from scipy import special

from dtc_jax.experiment import network, occlusion
from dtc_jax.statistics import predictions_table
from dtc_jax.tasks import registry


def test_the_rim_replaces_the_inside_or_the_surroundings():
    image = np.full((9, 9, 9), -800, np.int16)
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[3:6, 3:6, 3:6] = 1
    image[mask == 1] = 50
    image[0] = -3024  # padding
    cut = occlusion.occlude(image, mask, np.array([[1, 9], [0, 9], [0, 9]]))
    assert set(cut) == set(occlusion.OCCLUDED)
    assert {array.dtype for array in cut.values()} == {np.dtype(np.int16)}
    assert (cut["inside"][mask == 1] == -800).all()
    assert (cut["inside"][mask == 0] == image[mask == 0]).all()
    assert (cut["surroundings"][mask == 1] == 50).all()
    assert (cut["surroundings"][0] == -800).all()
    full = occlusion.occlude(image, np.ones_like(mask), np.array([[0, 9]] * 3))
    assert (full["inside"] == 0).all()


@pytest.fixture(scope="module")
def judged(folds):
    trained = network.load(folds.workdir)
    table = predictions_table.read(folds.workdir / "predictions.csv")
    judges = {fold: trained.member(fold) for fold in range(2)}
    return judges, registry.of(folds.config).load(folds.config), table


@pytest.mark.extras
def test_the_scores_are_those_of_the_network_of_the_fold(judged):
    judges, data, table = judged
    found = occlusion.scores(judges, data, table)
    assert sorted(found.lesion_id) == sorted(table[table.split == "test"].lesion_id)
    row = found.iloc[-1]
    position = data.table.set_index("lesion_id").position[row.lesion_id]
    record = data.records[int(position)]
    cut = occlusion.occlude(record["image"], record["mask"], record["extent"])
    for name, image in cut.items():
        (logit,) = judges[int(row.fold)].on_device(image[None], record["mask"][None])
        assert row[f"without_{name}"] == pytest.approx(float(special.expit(logit)), abs=1e-6)
    assert (found.without_inside != found.score).all()


@pytest.mark.extras
def test_a_network_that_sees_the_mask_alone_changes_no_score(judged):
    judges, data, table = judged
    blind = {}
    for fold, judge in judges.items():
        (member,) = judge.members
        config = member.config.copy_and_resolve_references().unlock()
        config.preprocess.window = (5000.0, 6000.0)  # all that is in a chest is black
        member = dataclasses.replace(member, config=config.lock())
        blind[fold] = dataclasses.replace(judge, members=(member,))
    found = occlusion.scores(blind, data, table)
    np.testing.assert_array_equal(found.without_inside, found.without_surroundings)
    assert found.without_inside.nunique() > 1

"""Which lesions a run's report shows, and whose heat maps they have."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.experiment import examples, network
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.networks import classifier as classifier_lib
from dtc_jax.statistics import predictions_table
from dtc_jax.tasks import registry


def _table(rows):
    columns = ["lesion_id", "label", "score", "fold", "split"]
    table = pd.DataFrame(rows, columns=columns).assign(threshold=0.5, cohort="primary")
    decided = (table.score >= 0.5).astype(float)
    return table.assign(decision=decided, patient_id=table.lesion_id)


def test_the_most_certain_are_chosen_of_the_test_lesions_alone():
    table = _table(
        [
            ("right", 1, 0.9, 0, "test"),
            ("less", 1, 0.7, 0, "test"),
            ("wrong", 1, 0.1, 0, "test"),
            ("nearly", 1, 0.4, 0, "test"),
            ("avid", 0, 0.2, 0, "test"),
            ("surer", 0, 0.05, 0, "test"),
            ("learned", 1, 0.99, 0, "train"),
            ("unscored", 1, np.nan, 0, "test"),
        ]
    )
    assert [row.lesion_id for row in examples._chosen(table)] == ["right", "wrong", "surer"]
    assert not [*examples._chosen(table[table.split == "train"])]


def test_the_widest_field_of_view_of_the_networks_is_shown():
    specs = [Preprocess((10, 20, 20)), Preprocess((16, 12, 12))]
    seen = examples._field_of_view((20, 24, 24), specs)
    assert seen == (slice(2, 18), slice(2, 22), slice(2, 22))
    assert examples._field_of_view((8, 24, 24), specs)[0] == slice(0, 8)


@pytest.fixture(scope="module")
def judged(folds):
    """The data of a run of two folds, its networks by fold, and its predictions."""
    trained = network.load(folds.workdir)
    judges = {fold: trained.member(fold) for fold in range(2)}
    table = predictions_table.read(folds.workdir / "predictions.csv")
    return registry.of(folds.config).load(folds.config), judges, table


@pytest.mark.extras
def test_each_lesion_has_the_heat_map_of_the_network_that_tested_it(judged):
    data, judges, table = judged
    shown = examples.make(judges, data, table)
    assert 2 <= len(shown) <= 4
    for example in shown:
        (row,) = table[
            (table.lesion_id == example.lesion_id)
            & (table.split == "test")
            & (table.score == example.score)
        ].to_dict("records")
        assert (example.label, example.is_right) == (row["label"], row["decision"] == row["label"])
        position = data.table.set_index("lesion_id").position[example.lesion_id]
        record = data.records[int(position)]
        heat = {
            fold: classifier_lib.make_heat_maps(judge)(record["image"][None], record["mask"][None])
            for fold, judge in judges.items()
        }
        for fold, (of_fold,) in heat.items():
            start = [(a - b) // 2 for a, b in zip(of_fold.shape, example.heat.shape, strict=True)]
            part = tuple(slice(a, a + b) for a, b in zip(start, example.heat.shape, strict=True))
            same = np.allclose(of_fold[part], example.heat, atol=1e-6)
            assert same == (fold == row["fold"])
            if same:
                assert np.array_equal(record["image"][part], example.image)
        assert example.mask.any()

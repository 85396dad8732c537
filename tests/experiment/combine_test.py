"""Candidates of a classifier and networks of several seeds that decide together."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from configs import senet, vnet
from dtc_jax.errors import UsageError
from dtc_jax.experiment import checks, folds, network
from dtc_jax.networks import classifier
from dtc_jax.tasks import inputs


@pytest.fixture(scope="module")
def config(small):
    small.loss.update(graded="age", graded_range=(40.0, 90.0), auxiliary={"mask_label": 0.1})
    small.predict.mirror = False
    small.candidates = {
        "near": {},
        "far": {"preprocess": {"crop_mm": (24, 24, 24), "spacing_mm": 1.5}},
    }
    small.train.ensemble = 2
    small.combine = "mean"
    return small.lock()


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    image = rng.integers(-900, 100, (2, 24, 24, 24)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    mask[:, 9:15, 9:15, 9:15] = 1
    return image, mask


@pytest.mark.extras
def test_all_candidates_and_seeds_decide_by_the_mean_of_their_logits(run, arrays):
    trained = network.load(run, "classification")
    seeds = [one.config.seed for one in trained.networks]
    assert seeds == [0, 1, 0, 1]
    sides = [one.config.preprocess.crop_mm[0] for one in trained.networks]
    assert sides == [24, 24, 16, 16]  # far, near: by name
    each = [
        jax.jit(trained.task.make_logit(one.config))(one.params, one.batch_stats, *arrays)
        for one in trained.networks
    ]
    assert np.ptp(np.stack(each), axis=0).max() > 1e-3
    together = jax.jit(trained.logit)(trained.variables, *arrays)
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
    (values,) = trained.candidates
    assert {*values} == {"near", "far"}


@pytest.mark.extras
def test_predictions_are_those_of_the_network_that_is_loaded(run, few):
    _, rows, stacked = few
    table = pd.read_csv(run / "predictions.csv").set_index("lesion_id")
    trained = network.load_with_threshold(run, "classification")
    assert trained.threshold == pytest.approx(table.threshold.iloc[0])
    score = np.asarray(trained.probability(*stacked))
    np.testing.assert_allclose(score, table.score[rows.lesion_id], rtol=1e-4)


@pytest.mark.extras
def test_folds_with_ensembles_of_other_sizes_have_one_score(run, few):
    data, rows, stacked = few
    trained = network.load(run, "classification")
    alone, pair = trained.networks[0], trained.networks[2]
    together = pair.config.copy_and_resolve_references().unlock()
    together.train.ensemble = 2
    several = dataclasses.replace(
        pair,
        config=together.lock(),
        params=(pair.params, trained.networks[3].params),
        batch_stats=(pair.batch_stats, trained.networks[3].batch_stats),
    )
    both = dataclasses.replace(trained, members=(alone, several))
    score = folds.predict_together(both.members, data, rows)
    np.testing.assert_allclose(score, both.probability(*stacked), rtol=1e-4)
    unequal = [np.asarray(one.probability(*stacked)) for one in (both.member(0), both.member(1))]
    assert np.abs(score - folds.mean_of_logits(unequal)).max() > 1e-4


def test_seeds_of_a_candidate_start_at_its_own():
    config = senet.get_config("demo").unlock()
    config.candidates = {"first": {}, "second": {"seed": 7}}
    config.combine, config.train.ensemble = "mean", 2
    assert [part.seed for part in inputs.parts(config).values()] == [0, 1, 7, 8]


@pytest.mark.extras
def test_the_heat_map_is_the_mean_of_all(run, arrays):
    trained = network.load_with_threshold(run, "classification")
    alone = [dataclasses.replace(trained, members=(one,)) for one in trained.networks]
    each = [classifier.make_classifier(one).answer(*arrays, True)[1] for one in alone]
    _, heat = classifier.make_classifier(trained).answer(*arrays, True)
    assert heat.max() > 0
    np.testing.assert_allclose(heat, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)


def test_how_to_combine_is_one_of_two():
    config = senet.get_config("demo").unlock()
    config.combine = "vote"
    with pytest.raises(UsageError, match=r"config\.combine"):
        checks.check(config)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"init_from": "runs/other"}, "init_from"),
        ({"data": {"size_mm": (20, 20, 20)}}, r"data\.size_mm"),
        ({"split": {"folds": 2}}, r"split\.folds"),
        ({"selection": {"per_patient": 1}}, r"selection\.per_patient"),
        ({"temperature": "none"}, "temperature"),
        ({"threshold": "youden"}, "threshold"),
        ({"combine": "mean"}, "combine"),
        ({"candidates": {"near": {"seed": 1}}}, r"candidates\.near\.seed"),
        ({"write_report": False}, "write_report"),
        ({"report": {"margin": 0.1}}, r"report\.margin"),
    ],
)
def test_what_candidates_share_is_refused_in_one(fields, field):
    config = senet.get_config("demo").unlock()
    config.train.batch_size = config.predict.batch_size = 8  # the tests have eight devices
    config.candidates = {"near": {}, "pre": {"seed": 1, "predict": {"mirror": False}}}
    checks.check(config)
    config.candidates = {"near": {}, "pre": {"model": {"width": 4}, **fields}}
    said = (
        rf"config\.candidates\.pre: {field} is the same for all candidates; set config\.{field}\.$"
    )
    with pytest.raises(UsageError, match=said):
        checks.check(config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"predict": {"crop_mm": (24, 24, 24)}}, r"predict\.crop_mm is the same for all"),
        ({"predict": {"threshold": 0.3}}, r"predict\.threshold is the same for all"),
        ({"predict": {"min_volume_mm3": 9.0}}, r"predict\.min_volume_mm3 is the same for all"),
        ({"loss": {"name": "dice"}}, r"loss\.name is of the loss by which .*monitor to 'dice'"),
    ],
)
def test_candidates_of_a_segmenter_are_chosen_by_the_same_numbers(fields, said):
    config = vnet.get_config("demo").unlock()
    config.train.batch_size = config.predict.batch_size = 8  # the tests have eight devices
    config.train.monitor = "loss"
    config.candidates = {"full": {}, "other": {"model": {"up": "resize"}, "seed": 1}}
    checks.check(config)
    config.candidates.other = fields
    with pytest.raises(UsageError, match=rf"config\.candidates\.other: {said}"):
        checks.check(config)
    if "loss" in fields:  # Dice is the same, whatever is minimized
        config.train.monitor = "dice"
        checks.check(config)

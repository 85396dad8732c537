"""Networks that one training gives: each goes on from the one before, and all decide together."""

import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from configs import senet
from dtc_jax.errors import UsageError
from dtc_jax.experiment import checks, cost, network
from dtc_jax.runs import train
from dtc_jax.sweep import status
from dtc_jax.tasks import inputs

_FOLDERS = [f"ensemble/{seed:02d}/snapshots/{number:02d}" for seed in (0, 1) for number in (0, 1)]


@pytest.fixture(scope="module")
def config(small):
    # Weights that stay where they start show where that was.
    small.optimizer.update(learning_rate=1e-12, weight_decay=0.0)
    small.train.update(ensemble=2, snapshots=2, epochs=2, ema_decay=0.0)
    return small.lock()


def _distance(one, other):
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), one.params, other.params)
    return max(jax.tree.leaves(apart))


@pytest.mark.extras
def test_a_snapshot_goes_on_from_the_one_before_it_and_a_seed_does_not(run):
    first, second, other, last = network.load(run, "classification").networks
    assert _distance(first, second) < 1e-6
    assert _distance(other, last) < 1e-6
    assert _distance(first, other) > 1e-2


@pytest.mark.extras
def test_each_has_its_share_of_the_epochs_and_draws_of_its_own(run, config):
    parts = inputs.parts(config)
    assert [*parts] == _FOLDERS
    assert [part.seed for part in parts.values()] == [0, 2, 1, 3]
    assert {part.train.epochs for part in parts.values()} == {1}
    for folder in _FOLDERS:
        assert (run / folder / "checkpoints").is_dir()
    assert status.of_training(run, config)[0] == pytest.approx(1)


@pytest.mark.extras
def test_all_decide_by_the_mean_of_their_logits(run, few):
    _, rows, arrays = few
    trained = network.load(run, "classification")
    table = pd.read_csv(run / "predictions.csv").set_index("lesion_id")
    score = np.asarray(trained.probability(*arrays))
    np.testing.assert_allclose(score, table.score[rows.lesion_id], rtol=1e-4)
    each = [
        jax.jit(trained.task.make_logit(one.config))(one.params, one.batch_stats, *arrays)
        for one in trained.networks
    ]
    np.testing.assert_allclose(score, jax.nn.sigmoid(sum(each) / 4), rtol=1e-4)


@pytest.mark.extras
def test_a_run_that_lacks_one_trains_it_from_the_one_before(run, config):
    before = pd.read_csv(run / "predictions.csv")
    shutil.rmtree(run / _FOLDERS[-1])
    train.run(config, run, announce_cost=False)
    pd.testing.assert_frame_equal(pd.read_csv(run / "predictions.csv"), before)


def test_their_cost_is_that_of_one_training():
    config = senet.get_config("demo").unlock()
    alone = cost.expected_cost(config)
    config.train.snapshots = 4
    four = cost.expected_cost(config)
    assert (four.networks, four.steps) == (4, alone.steps // 4)
    assert alone.flops < four.flops < 1.3 * alone.flops  # predictions are of all four


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"snapshots": 3, "epochs": 20}, r"train\.epochs is 20.*a multiple of 3"),
        ({"snapshots": 0}, r"train\.snapshots is 0"),
        ({"ensemble": 0}, r"train\.ensemble is 0"),
    ],
)
def test_impossible_numbers_are_refused(fields, words):
    config = senet.get_config("demo").unlock()
    config.train.update(fields)
    with pytest.raises(UsageError, match=words):
        checks.check(config)

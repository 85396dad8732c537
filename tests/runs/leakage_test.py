"""The leakage audit's parts: what it trains, and the features that it looks at."""

import jax
import numpy as np
import pytest

from configs import senet
from dtc_jax.errors import UsageError
from dtc_jax.runs import leakage
from dtc_jax.runs.leakage import split_by
from dtc_jax.tasks import classification


def test_both_runs_are_cross_validated_and_differ_in_the_unit_alone():
    config = senet.get_config("demo")
    for unit in ("lesion", "patient"):
        own = split_by(config, unit)
        assert (own.split.unit, own.split.folds) == (unit, 3)
        own.split.update(unit=config.split.unit, folds=config.split.folds)
        assert own.to_dict() == config.to_dict()
    config.split.folds = 5
    assert split_by(config, "lesion").split.folds == 5


def test_the_features_are_those_that_the_last_layer_sees():
    config = senet.get_config("demo")
    config.preprocess.update(crop_mm=(16, 16, 16), spacing_mm=2.0)
    config.model.update(width=2, stages=2)
    config.predict.mirror = False
    task = classification.make_task(config)
    params, batch_stats = jax.jit(task.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(-1000, 400, (3, 16, 16, 16)).astype(np.int16),
        "mask": np.ones((3, 16, 16, 16), np.uint8),
        "label": np.zeros(3, np.float32),
        "index": np.arange(3),
    }
    logit = jax.jit(task.predict)(params, batch_stats, batch)["logit"]
    found = jax.jit(classification.make_features(config))(params, batch_stats, batch)
    head = params["head"]
    np.testing.assert_allclose(
        found["features"] @ head["kernel"][:, 0] + head["bias"][0], logit, rtol=1e-5, atol=1e-6
    )
    assert found["index"].tolist() == [0, 1, 2]


def test_a_training_of_other_size_on_one_of_the_splits_is_refused(tmp_path):
    config = senet.get_config("lidc").unlock()
    config.loss.unlabelled = True
    with pytest.raises(UsageError, match=r"config\.loss\.unlabelled.*False"):
        leakage.run(config, tmp_path / "audit")
    assert not (tmp_path / "audit").exists()

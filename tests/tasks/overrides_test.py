"""Fields that replace those of a configuration: what is refused where they are no mapping."""

import json

import numpy as np
import pytest

from configs import senet
from dtc_jax.errors import UsageError
from dtc_jax.tasks.overrides import overridden


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("model.se", "fields is 'model.se'; give values"),
        ({3: 1}, "fields: 3 cannot be the name"),
        ({"model": ()}, r"model is \(\); give values by the names of its fields"),
        ({"train.asdf": ()}, "asdf"),
    ],
)
def test_what_gives_no_value_by_a_name_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        overridden(senet.get_config("demo"), fields, "fields")


def test_fields_are_replaced_in_a_copy():
    config = senet.get_config("demo")
    changed = overridden(config, {"model.width": 5, "model": {"stages": 1}}, "fields")
    assert (changed.model.width, changed.model.stages) == (5, 1)
    assert config.model.width != 5


def test_numbers_of_numpy_become_those_of_python():
    fields = {
        "optimizer.learning_rate": np.logspace(-3, -2, 2)[1],
        "model.width": np.int64(4),
        "preprocess": {"window": (np.int64(-500), 400.0)},
    }
    changed = overridden(senet.get_config("demo"), fields, "fields")
    found = (changed.optimizer.learning_rate, changed.model.width, changed.preprocess.window)
    assert repr(found) == "(0.01, 4, (-500, 400.0))"
    json.dumps(changed.to_dict())


@pytest.mark.parametrize("nested", [False, True])
def test_what_has_keys_of_the_user_is_replaced_as_a_whole(nested):
    config = senet.get_config("lidc")
    near = {"near": {"model": {"width": 8}}}
    for ratings in ({}, {"margin": 0.5}):
        fields = {"loss": {"auxiliary": ratings}} if nested else {"loss.auxiliary": ratings}
        changed = overridden(config, fields | {"candidates": near}, "fields")
        assert changed.loss.auxiliary.to_dict() == ratings
        assert changed.candidates.to_dict() == near
        assert changed.loss.is_locked
        assert changed.loss.graded == config.loss.graded
    assert len(config.candidates) == 4
    one = overridden(config, {"candidates.far.model.width": 8}, "fields")
    assert (one.candidates.near.model.width, one.candidates.far.model.width) == (16, 8)

"""Configurations that differ in their seed alone learn the same, with other numbers."""

import pytest

from configs import senet, vnet
from dtc_jax.experiment import learned


@pytest.mark.parametrize("config_file", [senet, vnet])
def test_it_is_one_object_for_all_seeds_and_another_for_any_other_field(config_file):
    config = config_file.get_config("demo")
    other = config.copy_and_resolve_references()
    other.seed += 1
    for of in (learned.task, learned.make_optimizer):
        assert of(config) is of(other)
    for name, value in (("model.remat", True), ("optimizer.learning_rate", 0.5)):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({name: value})
        assert learned.task(changed) is not learned.task(config), name
        assert learned.make_optimizer(changed) is not learned.make_optimizer(config), name


def test_a_later_change_of_the_configuration_changes_nothing_that_is_kept():
    config = senet.get_config("demo")
    before = learned.make_optimizer(config)
    rate = config.optimizer.learning_rate
    config.optimizer.learning_rate = 2 * rate
    assert before.args[0].learning_rate == rate
    assert learned.make_optimizer(config) is not before
    config.train.keep = "last"
    assert learned.task(config).mode == "last"


def test_features_are_those_of_one_object_as_well():
    config = senet.get_config("demo")
    assert learned.features(config) is learned.features(config)
    assert learned.features(config).predict is not learned.task(config).predict

"""Fields that replace those of a configuration: what is refused where they are no mapping."""

import pytest

from configs import senet
from dtc_jax.errors import UsageError
from dtc_jax.tasks.overrides import overridden


@pytest.mark.parametrize(
    ("fields", "message"),
    [("model.se", "fields is 'model.se'; give values"), ({3: 1}, "fields: 3 cannot be the name")],
)
def test_what_gives_no_value_by_a_name_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        overridden(senet.get_config("demo"), fields, "fields")


def test_fields_are_replaced_in_a_copy():
    config = senet.get_config("demo")
    changed = overridden(config, {"model.width": 5, "model": {"stages": 1}}, "fields")
    assert (changed.model.width, changed.model.stages) == (5, 1)
    assert config.model.width != 5

"""Cubes and a configuration that trains on them in seconds."""

import pytest

from configs import vnet
from tests import cubes as cubes_lib
from tests.cubes import SIDE


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """See `tests.cubes.write`."""
    return cubes_lib.write(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def config(cubes):
    config = vnet.get_config("lidc")
    config.data.update(manifest=str(cubes), folder=str(cubes.parent / "data"))
    config.data.exclude_patients = ()
    config.data.size_mm = (SIDE,) * 3
    config.preprocess.crop_mm = (12, 12, 12)
    config.predict.update(crop_mm=(SIDE,) * 3, batch_size=8)
    config.augment.shift_mm = 2.0
    with config.unlocked():
        config.model.update(widths=(4, 8), convolutions=(1, 1))
    config.train.update(epochs=4, batch_size=8, evaluate_every_epochs=2)
    return config

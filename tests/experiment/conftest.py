"""A small classifier on the fixture `study`, and its run; each file has its own configuration."""

import numpy as np
import pytest

from configs import senet
from dtc_jax.runs import train
from dtc_jax.tasks import classification


@pytest.fixture(scope="module")
def small(study, tmp_path_factory):
    """Unlocked: width 4, one stage, crops of 16 mm, data of its own, no report."""
    config = senet.get_config("demo").unlock()
    config.data.update(source="manifest", manifest=str(study), size_mm=(24, 24, 24))
    config.data.folder = str(tmp_path_factory.mktemp("data"))
    config.preprocess.crop_mm = (16, 16, 16)
    config.model.update(width=4, stages=1)
    config.train.update(batch_size=8, epochs=1, evaluate_every_epochs=1)
    config.write_report = False
    return config


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """The folder of a run of the file's `config`."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train.run(config, folder, announce_cost=False)
    return folder


@pytest.fixture(scope="module")
def few(config):
    """The data of the file's `config`, three of its rows, and their HU and masks."""
    data = classification.load(config)
    rows = data.table.iloc[:3]
    records = [data.records[position] for position in rows.position]
    arrays = [np.stack([record[name] for record in records]) for name in ("image", "mask")]
    return data, rows, arrays

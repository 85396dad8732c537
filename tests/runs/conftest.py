"""A small trained classifier and the data that it was trained on."""

import dataclasses
import pathlib

import ml_collections
import pytest

from configs import senet
from dtc_jax import runs


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its configuration and its folder."""

    config: ml_collections.ConfigDict
    workdir: pathlib.Path


def small_classifier(study: pathlib.Path, data: pathlib.Path) -> ml_collections.ConfigDict:
    config = senet.get_config("demo").unlock()
    config.data.update(
        source="manifest", manifest=str(study), folder=str(data), size_mm=(20, 20, 20)
    )
    config.preprocess.update(crop_mm=(16, 16, 16), spacing_mm=1.0)
    config.model.update(width=4, stages=1)
    config.optimizer.learning_rate = 0.02
    config.train.update(epochs=3, batch_size=8, evaluate_every_epochs=1)
    config.predict.batch_size = 8
    config.write_report = False
    return config


@pytest.fixture(scope="session")
def classifier(study, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("classifier")
    config = small_classifier(study, folder / "data")
    runs.train(config, folder / "run")
    return Run(config, folder / "run")


@pytest.fixture(scope="session")
def folds(study, classifier, tmp_path_factory) -> Run:
    """Two folds, in each of which one of two fields of view is chosen."""
    folder = tmp_path_factory.mktemp("folds")
    config = classifier.config.copy_and_resolve_references()
    config.split.folds = 2
    config.train.epochs = 1
    config.candidates = {
        "near": {"preprocess": {"crop_mm": (12, 12, 12)}},
        "far": {"preprocess": {"crop_mm": (20, 20, 20), "spacing_mm": 2.0}},
    }
    runs.train(config, folder / "run")
    return Run(config, folder / "run")

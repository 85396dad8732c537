"""The networks that predict, and what run.json says of them."""

import dataclasses
import os
from typing import Any

from dtc_jax.errors import InputError
from dtc_jax.experiment import network
from dtc_jax.inference.classify import Classifier, make_classifier
from dtc_jax.inference.segment import Segmenter, make_segmenter
from dtc_jax.storage import PathLike
from dtc_jax.tasks import inputs
from dtc_jax.tasks.trained import TrainedNetwork


@dataclasses.dataclass(frozen=True)
class Predictors:
    """What a scan is predicted with.

    Attributes:
      segmenter: finds the lesions; None where they are outlined already.
      classifier: classifies them.
      candidates: tells lesions from false findings; None for none.
      networks: of all, by 'segmenter', 'classifier' and 'candidates': the run's folder and its
        fingerprints, for run.json.
    """

    segmenter: Segmenter | None
    classifier: Classifier
    networks: dict[str, dict[str, Any]]
    candidates: Classifier | None = None


def load(segmenter: PathLike, classifier: PathLike, candidates: PathLike = "") -> Predictors:
    """The predictors from the folders of trained runs.

    Args:
      segmenter: '' for none, where the lesions are outlined already.
      classifier: of the lesions.
      candidates: '' for no second look at what was found.

    Raises:
      InputError: see `load_segmenter` and `load_classifier`.
    """
    finder, look, networks = None, None, {}
    if segmenter:
        finder, networks["segmenter"] = load_segmenter(segmenter)
    decider, networks["classifier"] = load_classifier(classifier)
    if candidates:
        look, networks["candidates"] = load_classifier(candidates, "candidates")
    return Predictors(finder, decider, networks, look)


def load_segmenter(workdir: PathLike) -> tuple[Segmenter, dict[str, Any]]:
    """The segmenter of a run, and what run.json says of it.

    Raises:
      InputError: see `network.load`.
    """
    trained = network.load(workdir, "segmentation")
    return make_segmenter(trained), _describe(workdir, trained)


def load_classifier(
    workdir: PathLike, task: str = "classification"
) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a run of `task` with its threshold, and what run.json says of it.

    Raises:
      InputError: see `network.load_with_threshold`; or it was not trained on CT.
    """
    trained = network.load_with_threshold(workdir, task)
    if trained.config.data.source == "medmnist3d":
        raise InputError(
            f"{workdir}: was trained on the cubes of MedMNIST, which are not CT in HU; give a "
            "classifier that was trained on scans."
        )
    description = {**_describe(workdir, trained), "threshold": trained.threshold}
    return make_classifier(trained), description


def essence(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What of `Predictors.networks` decides the result: all but where the runs are."""
    return {
        name: {key: value for key, value in description.items() if key != "workdir"}
        for name, description in networks.items()
    }


def _describe(workdir: PathLike, trained: TrainedNetwork) -> dict[str, Any]:
    members = len(trained.members) * inputs.networks(trained.config)
    return {"workdir": os.path.abspath(workdir), "networks": members, **trained.fingerprints}

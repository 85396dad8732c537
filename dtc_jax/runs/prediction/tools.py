"""The two networks that predict, and what is remembered of them."""

import dataclasses
import os
from typing import Any

from dtc_jax.errors import InputError
from dtc_jax.inference.classify import Classifier, make_classifier
from dtc_jax.inference.segment import Segmenter, make_segmenter, together
from dtc_jax.runs import networks
from dtc_jax.storage import PathLike


@dataclasses.dataclass(frozen=True)
class Tools:
    """What a scan is predicted with.

    Attributes:
      segmenter: finds the lesions.
      classifier: judges them.
      known: of both, by 'segmenter' and 'classifier': the run's folder and its fingerprints; for
        run.json.
    """

    segmenter: Segmenter
    classifier: Classifier
    known: dict[str, dict[str, Any]]


def load(segmenter: PathLike, classifier: PathLike) -> Tools:
    """The tools from the folders of two trained runs.

    Raises:
      InputError: see `load_segmenter` and `load_classifier`.
    """
    finds, of_segmenter = load_segmenter(segmenter)
    judges, of_classifier = load_classifier(classifier)
    return Tools(finds, judges, {"segmenter": of_segmenter, "classifier": of_classifier})


def load_segmenter(workdir: PathLike) -> tuple[Segmenter, dict[str, Any]]:
    """The segmenter of a run, and what is remembered of it.

    Raises:
      InputError: see `networks.load`.
    """
    trained = networks.load(workdir, "segmentation")
    segmenter = together([make_segmenter(one.config, one.result) for one in trained])
    return segmenter, _known(workdir, trained)


def load_classifier(workdir: PathLike) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a run with its threshold, and what is remembered of it.

    Raises:
      InputError: see `networks.load` and `networks.threshold`; or it was not trained on CT.
    """
    trained = networks.load(workdir, "classification")
    if trained[0].config.data.source == "medmnist3d":
        raise InputError(
            f"{workdir}: was trained on the cubes of MedMNIST, which are no CT in HU; give a "
            "classifier that was trained on scans."
        )
    threshold = networks.threshold(workdir)
    classifier = make_classifier([(one.config, one.result) for one in trained], threshold)
    return classifier, {**_known(workdir, trained), "threshold": threshold}


def essence(known: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What of `Tools.known` decides the result: all but where the runs lie."""
    return {
        name: {key: value for key, value in one.items() if key != "workdir"}
        for name, one in known.items()
    }


def _known(workdir: PathLike, trained: list[networks.Network]) -> dict[str, Any]:
    found = networks.fingerprints(trained)
    return {"workdir": os.path.abspath(workdir), "networks": len(trained), **found}

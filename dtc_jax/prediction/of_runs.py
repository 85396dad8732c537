"""The networks of trained runs, which JAX computes. Those of bundles do without this file."""

import os
from typing import Any

from dtc_jax.experiment import environment, network
from dtc_jax.experiment import workdir as workdir_lib
from dtc_jax.inference.classify import Classifier, refuse_cubes
from dtc_jax.inference.segment import Segmenter
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.storage import PathLike
from dtc_jax.tasks.trained import TrainedNetwork


def load_segmenter(workdir: PathLike) -> tuple[Segmenter, dict[str, Any]]:
    """The segmenter of a run, and what run.json says of it.

    Raises:
      InputError: see `network.load`.
    """
    environment.prepare()
    trained = network.load(workdir, "segmentation")
    return make_segmenter(trained), _describe(workdir, trained)


def load_classifier(workdir: PathLike, task: str) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a run of `task` with its threshold, and what run.json says of it.

    Raises:
      InputError: see `network.load_with_threshold`; or it was not trained on CT.
    """
    environment.prepare()
    trained = network.load_with_threshold(workdir, task)
    refuse_cubes(workdir, trained.config.data.source)
    description = {**_describe(workdir, trained), "threshold": trained.threshold}
    return make_classifier(trained), description


def versions() -> dict[str, str]:
    """See `environment.versions`."""
    return environment.versions()


def task_of(workdir: PathLike) -> str:
    """The task of a run, such as 'segmentation'.

    Raises:
      InputError: its configuration cannot be read.
    """
    return str(workdir_lib.read_config(workdir).task)


def _describe(workdir: PathLike, trained: TrainedNetwork) -> dict[str, Any]:
    about = trained.config.data.get("about", "")
    return {
        "workdir": os.path.abspath(workdir),
        "networks": len(trained.networks),
        **trained.fingerprints,
        **({"about": about} if about else {}),
    }

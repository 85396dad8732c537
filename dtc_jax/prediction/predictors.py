"""The networks that predict, of runs or of bundles, and what run.json says of them.

Bundles are answered by ONNX Runtime: with nothing else given, no file is imported that needs JAX.
"""

import dataclasses
import os
import pathlib
from types import ModuleType
from typing import Any

from dtc_jax import versions as versions_lib
from dtc_jax.errors import InputError
from dtc_jax.inference.classify import Classifier
from dtc_jax.inference.segment import Segmenter
from dtc_jax.serving import bundle as bundle_lib
from dtc_jax.serving import classifier as classifier_lib
from dtc_jax.serving import segmenter as segmenter_lib
from dtc_jax.serving.bundle import Bundle
from dtc_jax.storage import PathLike

_THRESHOLDS, _ROUNDING = ("threshold", "lesion_threshold"), 1e-6
_ELSEWHERE = ("workdir", "runtime", "about")  # of a description: what decides no answer


@dataclasses.dataclass(frozen=True)
class Predictors:
    """What a scan is predicted with.

    Attributes:
      segmenter: finds the lesions; None where they are outlined already.
      classifier: classifies them.
      candidates: tells lesions from false findings; None for none.
      networks: of all, by 'segmenter', 'classifier' and 'candidates': its folder and fingerprints,
        for run.json.
    """

    segmenter: Segmenter | None
    classifier: Classifier
    networks: dict[str, dict[str, Any]]
    candidates: Classifier | None = None


def load(segmenter: PathLike, classifier: PathLike, candidates: PathLike = "") -> Predictors:
    """The predictors from the folders of trained runs, or of bundles.

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


def load_segmenter(path: PathLike) -> tuple[Segmenter, dict[str, Any]]:
    """The segmenter of a run or bundle, and what run.json says of it.

    Raises:
      InputError: it is neither, or cannot be used; see `bundle.read` and `network.load`.
    """
    if bundle_lib.is_bundle(path):
        bundle = bundle_lib.read(path, "segmentation")
        segmenter, description = segmenter_lib.make_segmenter(bundle), _describe(bundle)
    else:
        segmenter, description = _of_runs(path).load_segmenter(path)
    threshold = segmenter.instances.lesion_threshold
    return segmenter, description | ({"lesion_threshold": threshold} if threshold > 0 else {})


def load_classifier(
    path: PathLike, task: str = "classification"
) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a run or bundle of `task`, and what run.json says of it.

    Raises:
      InputError: it is neither, cannot be used, or was not trained on CT; see `bundle.read` and
        `network.load_with_threshold`.
    """
    if not bundle_lib.is_bundle(path):
        return _of_runs(path).load_classifier(path, task)
    bundle = bundle_lib.read(path, task)
    description = {**_describe(bundle), "threshold": bundle.threshold}
    return classifier_lib.make_classifier(bundle), description


def task_of(path: PathLike) -> str:
    """The task of a run or bundle, such as 'segmentation'.

    Raises:
      InputError: it is neither.
    """
    if bundle_lib.is_bundle(path):
        return bundle_lib.task_of(path)
    return str(_of_runs(path).task_of(path))


def essence(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What of `Predictors.networks` decides the result: all but where the networks are."""
    return {
        name: {key: value for key, value in description.items() if key not in _ELSEWHERE}
        for name, description in networks.items()
    }


def agree(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> bool:
    """Whether two descriptions are of the same networks.

    Their thresholds are chosen among the scores of validation, which another machine computes with
    other rounding, so that evaluating a run again moves them by as much.
    """
    kept = [essence(networks) for networks in (first, second)]
    thresholds = [
        {(name, key): of.pop(key) for name, of in one.items() for key in _THRESHOLDS if key in of}
        for one in kept
    ]
    near = thresholds[0].keys() == thresholds[1].keys() and all(
        abs(value - thresholds[1][key]) <= _ROUNDING for key, value in thresholds[0].items()
    )
    return near and kept[0] == kept[1]


def versions(networks: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Of Python and the libraries; the backend of JAX, where it computes a network of a run."""
    if all("runtime" in description for description in networks.values()):
        return versions_lib.installed()
    return dict(_of_runs().versions())


def _of_runs(path: PathLike = "") -> ModuleType:
    """The file that loads runs. It is imported here alone, as it needs JAX.

    Raises:
      InputError: there is no run at `path`, or JAX, or a library around it, is not installed.
    """
    if path and not (pathlib.Path(path) / "config.json").is_file():
        raise InputError(
            f"{path}: not the folder of a run (it has no config.json), nor a bundle (it has no "
            f"{bundle_lib.DESCRIPTION})."
        )
    try:
        from dtc_jax.prediction import of_runs
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path or 'the network'}: is a run, which needs {error.name}; give a bundle of it "
            "(--mode=export), or install dtc-jax with all that it depends on."
        ) from error
    return of_runs


def _describe(bundle: Bundle) -> dict[str, Any]:
    dtype = bundle.described["precision"]["dtype"]
    return {
        "workdir": os.path.abspath(bundle.path),
        "networks": bundle.described["networks"],
        **bundle.fingerprints,
        **({"about": about} if (about := bundle.described.get("about")) else {}),
        **({} if dtype == "float32" else {"dtype": dtype}),  # other numbers than the run's
        "runtime": bundle.runtime,
    }

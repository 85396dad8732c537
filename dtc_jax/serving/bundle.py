"""An exported network, opened: its files are whole, and its ONNX model answers."""

import dataclasses
import pathlib
from typing import Any

from dtc_jax.errors import InputError, one_line
from dtc_jax.serving.bundled import client, verify
from dtc_jax.storage import PathLike, read_json

FORMAT = 1  # of preprocessing.json; raised whenever an older one can no longer be used
DESCRIPTION = "preprocessing.json"
# Without one of these, preprocessing.json cannot be used.
_FIELDS = {"models", "threshold", "before_the_model", "batch", "data_source", "fingerprints"}
# What a task's network is called, and the flag that takes it; as the tasks themselves say.
WORDS = {
    "classification": ("a classifier", "--classifier"),
    "segmentation": ("a segmenter", "--segmenter"),
    "candidates": ("a second look at candidates", "--candidates"),
}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle whose files were held against their sums.

    Attributes:
      path: its folder.
      described: contents of preprocessing.json.
      model: inputs by name [B, ...] -> outputs by name [B, ...], see `bundled.client.load`.
      runtime: what answers, with its version.
    """

    path: pathlib.Path
    described: dict[str, Any]
    model: client.Model
    runtime: str

    @property
    def threshold(self) -> float:
        """From which probability on a case, or a voxel, is positive."""
        return float(self.described["threshold"]["value"])

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of what the network was made with, and of its weights: those of its run."""
        return dict(self.described["fingerprints"])


def is_bundle(path: PathLike) -> bool:
    """Whether `path` is the folder of a bundle, whole or not."""
    return (pathlib.Path(path) / DESCRIPTION).is_file()


def task_of(path: PathLike) -> str:
    """The task of a bundle's network, such as 'segmentation'.

    Raises:
      InputError: another version of dtc-jax has written it.
    """
    described = read_json(pathlib.Path(path) / DESCRIPTION)
    known = isinstance(described, dict) and described.get("format") == FORMAT
    named = known and described.get("task") in WORDS and described.keys() >= _FIELDS
    if not named or not isinstance(described["models"], dict):
        raise InputError(
            f"{path}: was exported by another version of dtc-jax; export its run again."
        )
    return str(described["task"])


def read(path: PathLike, task: str) -> Bundle:
    """Opens a bundle. Nothing in it is executed but its ONNX model.

    Args:
      path: its folder.
      task: that its network must have been trained for.

    Raises:
      InputError: it is of another task or version, a file of it is missing or has changed, it has
        no ONNX model, or ONNX Runtime is not installed or cannot read the model.
    """
    folder = pathlib.Path(path)
    found = task_of(folder)
    if found != task:
        (noun, flag), (wanted, right) = WORDS.get(found, (found, "another flag")), WORDS[task]
        raise InputError(
            f"{path}: is the bundle of {noun}, and {wanted} is needed; give it as {flag}, and as "
            f"{right} the bundle, or the run, of {wanted}."
        )
    try:
        verify.check_files(folder)
    except (verify.Failed, OSError) as error:
        raise InputError(
            f"{path}: the bundle was changed after its export: {error}. Copy it again, or export "
            "its run again."
        ) from error
    described = read_json(folder / DESCRIPTION)
    if "onnx" not in described["models"]:
        raise InputError(
            f"{path}: has no ONNX model; export its run again with --format=onnx among the others."
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{path}: a bundle needs ONNX Runtime; run pip install 'dtc-jax[serve]', or pip "
            "install onnxruntime."
        ) from error
    try:
        model = client.load(folder, "onnx")
    except Exception as error:  # the runtime's own kinds share no base but this
        text = one_line(error, 200)
        raise InputError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot read its model ({text}); "
            "install a newer one, or export its run again."
        ) from error
    return Bundle(folder, described, model, f"ONNX Runtime {onnxruntime.__version__}")

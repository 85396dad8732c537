"""A small client of this bundle: crops in HU in, probabilities out.

    python client.py image.npy [mask.npy] [--format=onnx|stablehlo|savedmodel]

The arrays are those that preprocessing.json describes, [B, d, h, w] or one example [d, h, w]. It
needs NumPy, and ONNX Runtime, JAX or TensorFlow.
"""

import argparse
import functools
import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

Answer = dict[str, np.ndarray]


class Model(Protocol):
    """A model on its runtime."""

    def __call__(self, arrays: dict[str, np.ndarray], outputs: Sequence[str] = ()) -> Answer:
        """Inputs by name [B, ...] -> outputs by name [B, ...], those that are named or all.

        Raises:
          ValueError: an input is missing or has another shape or dtype, or there is no such output.
        """


_Run = Callable[[dict[str, np.ndarray], list[str]], Answer]


def describe(bundle: pathlib.Path) -> dict:
    """The contents of preprocessing.json.

    Raises:
      ValueError: it cannot be read as such.
    """
    path = bundle / "preprocessing.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}).") from error
    if not isinstance(described, dict) or not isinstance(described.get("models"), dict):
        raise ValueError(f"{path}: is not that of a bundle.")
    return described


def load(bundle: pathlib.Path, kind: str) -> Model:
    """The model of a format.

    Args:
      bundle: this folder.
      kind: 'onnx', 'stablehlo' or 'savedmodel'.

    Returns:
      It, see `Model`.

    Raises:
      ImportError: the format's runtime is not installed.
      ValueError: the bundle has no such model, or it is elsewhere.
    """
    described = describe(bundle)
    possible = [one for one in described["models"] if one in _RUNTIMES]
    if kind not in possible:
        raise ValueError(f"{kind}: is no model of this bundle; it has {', '.join(possible)}.")
    path = (bundle / described["models"][kind]).resolve()
    if not path.is_relative_to(bundle.resolve()):
        raise ValueError(f"preprocessing.json: the {kind} model is not in the bundle.")
    run = _RUNTIMES[kind](path)
    names = [one["name"] for one in described["outputs"]]

    def answer(arrays: dict[str, np.ndarray], outputs: Sequence[str] = ()) -> Answer:
        for name in outputs:
            if name not in names:
                raise ValueError(f"{name}: no such output; there are {', '.join(names)}.")
        given = {one["name"]: _checked(one, arrays) for one in described["inputs"]}
        return run(given, list(outputs) or names)

    return answer


def _onnx(path: pathlib.Path) -> _Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # It would start a thread on every core of the machine, also on those that are not ours
    # (microsoft/onnxruntime#8313).
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def run(given: dict[str, np.ndarray], wanted: list[str]) -> Answer:
        return dict(zip(wanted, session.run(wanted, given), strict=True))

    return run


def _stablehlo(path: pathlib.Path) -> _Run:
    import jax
    from jax import export

    model = export.deserialize(bytearray(path.read_bytes()))

    @functools.partial(jax.jit, static_argnums=0)  # what is not wanted is not computed
    def call(wanted: tuple[str, ...], *arrays: jax.Array) -> dict[str, jax.Array]:
        found = model.call(*arrays)
        return {name: found[name] for name in wanted}

    def run(given: dict[str, np.ndarray], wanted: list[str]) -> Answer:
        found = call(tuple(wanted), *given.values())
        return {name: np.asarray(found[name]) for name in wanted}

    return run


def _savedmodel(path: pathlib.Path) -> _Run:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))

    def run(given: dict[str, np.ndarray], wanted: list[str]) -> Answer:
        tensors = {name: tf.constant(array) for name, array in given.items()}
        found = model.signatures["serving_default"](**tensors)
        return {name: found[name].numpy() for name in wanted}

    return run


_RUNTIMES = {"onnx": _onnx, "stablehlo": _stablehlo, "savedmodel": _savedmodel}


def _checked(one: dict, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The array of an input.

    Raises:
      ValueError: it is missing, or has another shape or dtype.
    """
    name, shape = one["name"], tuple(one["shape"][1:])
    array = arrays.get(name)
    wanted = f"give {one['dtype']} [B, {', '.join(map(str, shape))}], see preprocessing.json."
    if array is None:
        raise ValueError(f"{name}: is missing; {wanted}")
    if array.dtype != one["dtype"] or array.ndim != 4 or array.shape[1:] != shape:
        raise ValueError(f"{name}: is {array.dtype} {list(array.shape)}; {wanted}")
    return array


def _read(path: str) -> np.ndarray:
    """An array of a file."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: is no .npy file of numbers that can be read.") from error


def main() -> None:
    """Prints the probability and the decision of each example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("mask", nargs="?")
    parser.add_argument("--format", default="onnx", choices=tuple(_RUNTIMES))
    arguments = parser.parse_args()
    bundle = pathlib.Path(__file__).resolve().parent
    try:
        arrays = {"image": _read(arguments.image)}
        if arguments.mask:
            arrays["mask"] = _read(arguments.mask)
        arrays = {name: array[None] if array.ndim == 3 else array for name, array in arrays.items()}
        found = load(bundle, arguments.format)(arrays, ["probability"])["probability"]
    except (ValueError, ImportError) as error:
        sys.exit(f"client.py: {error}")
    threshold = describe(bundle)["threshold"]["value"]
    for number, probability in enumerate(found):
        if probability.ndim:
            voxels = int((probability >= threshold).sum())
            print(f"{number}: {voxels} voxels at {threshold:.4f} or above")
        else:
            decision = "positive" if probability >= threshold else "negative"
            print(f"{number}: {probability:.4f}, {decision} at {threshold:.4f}")


if __name__ == "__main__":
    main()

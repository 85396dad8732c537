"""A small client of this bundle: crops in HU in, probabilities out.

    python client.py image.npy [mask.npy] [--format=onnx|stablehlo]

The arrays are those that preprocessing.json describes, [B, d, h, w] or one example [d, h, w]. It
needs NumPy, and ONNX Runtime or JAX.
"""

import argparse
import json
import pathlib
from collections.abc import Callable

import numpy as np

Answer = dict[str, np.ndarray]


def describe(bundle: pathlib.Path) -> dict:
    """The contents of preprocessing.json."""
    return json.loads((bundle / "preprocessing.json").read_text(encoding="utf-8"))


def load(bundle: pathlib.Path, kind: str) -> Callable[[dict[str, np.ndarray]], Answer]:
    """The model of a format.

    Args:
      bundle: this folder.
      kind: 'onnx' or 'stablehlo'.

    Returns:
      Inputs by name [B, ...] -> outputs by name [B, ...].

    Raises:
      ImportError: the format's runtime is not installed.
    """
    described = describe(bundle)
    path = bundle / described["models"][kind]

    def check(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [_checked(one, arrays) for one in described["inputs"]]

    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [one["name"] for one in described["inputs"]]
        outputs = [one["name"] for one in described["outputs"]]

        def run(arrays: dict[str, np.ndarray]) -> Answer:
            given = dict(zip(names, check(arrays), strict=True))
            return dict(zip(outputs, session.run(outputs, given), strict=True))

        return run
    from jax import export

    model = export.deserialize(bytearray(path.read_bytes()))
    return lambda arrays: {k: np.asarray(v) for k, v in model.call(*check(arrays)).items()}


def _checked(one: dict, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The array of an input.

    Raises:
      ValueError: it is missing, or has another shape or dtype.
    """
    name, shape = one["name"], tuple(one["shape"][1:])
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"{name}: is missing; give {one['dtype']} [B, {shape}].")
    if array.dtype != one["dtype"] or array.ndim != 4 or array.shape[1:] != shape:
        raise ValueError(
            f"{name}: is {array.dtype} {array.shape}; give {one['dtype']} [B, *{shape}], see "
            "preprocessing.json."
        )
    return array


def main() -> None:
    """Prints the probability and the decision of each example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("mask", nargs="?")
    parser.add_argument("--format", default="onnx", choices=("onnx", "stablehlo"))
    arguments = parser.parse_args()
    bundle = pathlib.Path(__file__).resolve().parent
    arrays = {"image": np.load(arguments.image)}
    if arguments.mask:
        arrays["mask"] = np.load(arguments.mask)
    arrays = {name: array[None] if array.ndim == 3 else array for name, array in arrays.items()}
    found = load(bundle, arguments.format)(arrays)["probability"]
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

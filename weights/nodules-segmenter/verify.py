"""Does this bundle give the numbers it promises, and is it whole?

    python verify.py [BUNDLE] [--format=onnx,stablehlo,savedmodel,safetensors]

First every file is held against SHA256SUMS, then each format's own runtime answers the cases of
contract/: no probability may differ by more than 1e-5, and no decision may flip. Of a bundle in
fewer bits, preprocessing.json states by how much one may differ; decisions flip only where the
run's probability is no further than that from the threshold, and are counted. NumPy is needed
and, for onnx, ONNX Runtime; for stablehlo, JAX; for savedmodel, TensorFlow. Without --format, what
cannot be run here is left out and named. The exit code is 0 where all is well and 1 where it is
not.
"""

import argparse
import hashlib
import importlib.util
import json
import pathlib
import sys

import numpy as np

SUMS = "SHA256SUMS"
_DTYPES = {"F32": "<f4"}  # of safetensors


class Failed(Exception):
    """The bundle is not what it promises."""


def check_files(bundle: pathlib.Path) -> int:
    """Holds every file against SHA256SUMS; returns how many there are."""
    try:
        lines = (bundle / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{bundle}: is no bundle, or its {SUMS} has changed ({error})") from error
    sums = {}
    for number, line in enumerate(lines, start=1):
        digest, _, name = line.partition("  ")
        if not name:
            raise Failed(f"{SUMS}: line {number} is no sum of a file; it has changed")
        sums[name] = digest
    found = {p.relative_to(bundle).as_posix(): p for p in bundle.rglob("*") if not p.is_dir()}
    links = [name for name, path in found.items() if path.is_symlink()]
    if links:
        raise Failed(f"{links[0]}: is a link; a bundle has none")
    found.pop(SUMS, None)
    for name in sorted(sums.keys() - found.keys()):
        raise Failed(f"{name}: is in {SUMS}, but not in the bundle")
    for name in sorted(found.keys() - sums.keys()):
        raise Failed(f"{name}: is in the bundle, but not in {SUMS}")
    for name, path in sorted(found.items()):
        if hashlib.sha256(path.read_bytes()).hexdigest() != sums[name]:
            raise Failed(f"{name}: has changed since the bundle was made")
    return len(found)


def cases(bundle: pathlib.Path) -> dict[str, tuple[dict, dict]]:
    """The contract: by name of the case the arrays of a question and those of its answer."""
    found = {}
    for path in sorted((bundle / "contract").glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except Exception as error:  # of a zip file, of zlib or of NumPy
            raise Failed(f"contract/{path.name}: is no file of arrays") from error
        expected = {
            name.removeprefix("expected_"): arrays.pop(name)
            for name in [name for name in arrays if name.startswith("expected_")]
        }
        found[path.stem] = (arrays, expected)
    if not found:
        raise Failed("contract: has no cases")
    return found


def difference(name: str, got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest of an output; infinite where it has another shape or is not finite.

    That of heat maps, which are in units of the logit, is a share of their largest value.
    """
    if got.shape != wanted.shape or not np.isfinite(got).all():
        return float("inf")
    scale = 1.0 if name == "probability" else max(1.0, float(abs(wanted).max()))
    return float(abs(got.astype(float) - wanted).max()) / scale


def check_answers(bundle: pathlib.Path, kind: str, described: dict) -> tuple[int, float, int]:
    """Runs a format on all cases.

    Returns:
      How many, the largest difference in probability, and how many decisions flip.
    """
    threshold, precision = described["threshold"]["value"], described["precision"]
    tolerance = precision["tolerance"]
    client = _client(bundle)
    model = client.load(bundle, kind)
    largest, flips = 0.0, 0
    stored = cases(bundle)
    for case, (arrays, expected) in stored.items():
        answer = model(arrays)
        for name, wanted in expected.items():
            got = answer[name]
            away = difference(name, got, wanted)
            if not np.isfinite(away):
                raise Failed(f"{kind}, {case}.npz: {name} is not {wanted.shape} finite numbers")
            if away > tolerance:
                raise Failed(f"{kind}, {case}.npz: {name} differs by {away:.1e}")
            if name == "probability":
                largest = max(largest, away)
                flipped = int(((got >= threshold) != (wanted >= threshold)).sum())
                flips += flipped
                if flipped and precision["dtype"] == "float32":
                    raise Failed(f"{kind}, {case}.npz: {flipped} decisions flip")
    return len(stored), largest, flips


def check_weights(bundle: pathlib.Path, path: str) -> int:
    """Reads a safetensors file with NumPy alone; returns how many arrays it has."""
    data = (bundle / path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    listed = json.loads((bundle / pathlib.Path(path).parent / "pytorch.json").read_text())
    if header.keys() != listed.keys():
        raise Failed(f"{path}: has other arrays than pytorch.json")
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + start : 8 + size + stop], _DTYPES[entry["dtype"]])
        array = values.reshape(entry["shape"]).transpose(listed[name]["permute"])
        if list(array.shape) != listed[name]["shape"] or not np.isfinite(array).all():
            raise Failed(f"{path}: {name} is not {listed[name]['shape']} finite numbers")
    return len(header)


def _client(bundle: pathlib.Path):
    """The bundle's client.py, whose sum was checked before."""
    spec = importlib.util.spec_from_file_location("bundle_client", bundle / "client.py")
    if spec is None or spec.loader is None:
        raise Failed("client.py: cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verify(bundle: pathlib.Path, formats: list[str]) -> dict[str, float]:
    """Prints a line for each thing that was checked.

    Args:
      bundle: its folder.
      formats: to be run; none for those whose runtime is here.

    Returns:
      The largest difference in probability, by format.

    Raises:
      Failed: what is wrong.
    """
    print(f"{check_files(bundle)} files are as they were made")
    described = _client(bundle).describe(bundle)
    models, differences = described["models"], {}
    for kind in formats or models:
        if kind not in models:
            raise Failed(f"--format={kind}: the bundle has {', '.join(models)}")
        try:
            if kind == "safetensors":
                print(f"{kind}: {check_weights(bundle, models[kind])} arrays are whole")
                continue
            cases, largest, flips = check_answers(bundle, kind, described)
        except ImportError as error:
            if formats:
                raise Failed(f"{kind}: its runtime is not installed ({error})") from error
            print(f"{kind}: NOT CHECKED, its runtime is not installed ({error})")
            continue
        differences[kind] = largest
        flipped = f"{flips} decisions near the threshold flip" if flips else "no decision flips"
        print(f"{kind}: {cases} cases, probabilities within {largest:.1e}, {flipped}")
    if not differences and set(models) - {"safetensors"} and not formats:
        raise Failed("no model could be run; install onnxruntime, jax or tensorflow")
    return differences


def main() -> int:
    """Verifies the bundle that is named, or the one that this file is in."""
    sys.dont_write_bytecode = True  # a file more would make the bundle another one
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default=str(pathlib.Path(__file__).parent))
    parser.add_argument("--format", default="")
    parser.add_argument("--differences", help="a file for the largest differences, as JSON")
    arguments = parser.parse_args()
    formats = [kind for kind in arguments.format.split(",") if kind]
    try:
        differences = verify(pathlib.Path(arguments.bundle), formats)
        if arguments.differences:
            pathlib.Path(arguments.differences).write_text(json.dumps(differences))
    except (Failed, OSError, ValueError, KeyError) as error:
        print(f"verify.py: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except Exception as error:  # of a runtime that cannot read its model
        text = " ".join(str(error).split())[:300]
        print(f"verify.py: {type(error).__name__}: {text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

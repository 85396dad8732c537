"""A bundle: a folder with a trained network in serving formats, and all that goes with them."""

import hashlib
import importlib.metadata
import importlib.resources
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.export import card, contract, interface, served
from dtc_jax.export import formats as formats_lib
from dtc_jax.serving.bundle import DESCRIPTION
from dtc_jax.tasks.trained import TrainedNetwork

_SUMS = "SHA256SUMS"
_BUNDLED = ("verify.py", "client.py")


def check_free(out: storage.PathLike) -> None:
    """Refuses a place that has something in it, or is in another bundle.

    Raises:
      InputError: it is a file, or a folder with files, or a bundle would have it in it.
    """
    path = pathlib.Path(out)
    for parent in path.absolute().parents:
        if (parent / _SUMS).is_file() and (parent / DESCRIPTION).is_file():
            raise InputError(
                f"{path}: is inside the bundle {parent}, which must not change; choose a folder "
                "outside it for --out."
            )
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; choose another --out.")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path}: contains files; choose a new folder for --out.")


def write(
    out: storage.PathLike,
    load: Callable[[], tuple[TrainedNetwork, str]],
    run: pathlib.Path,
    formats: Sequence[str] = (),
    dtype: str = "float32",
) -> None:
    """Writes a bundle and has its own verify.py check each format in a process of its own.

    Args:
      out: its folder, new or empty.
      load: gives the network, with its threshold, and says where that is from.
      run: folder of the network's run, which the model card is made of.
      formats: see `formats.choose`.
      dtype: of the computation, a key of `formats.TOLERANCES`. Weights stay in float32.

    Raises:
      InputError: `out` cannot be used; or a format does not give the numbers of the run, and
        nothing is left of the bundle.
      UsageError: there is no such format, or a field of the configuration cannot be exported.
    """
    chosen = formats_lib.choose(formats, dtype)
    check_free(out)
    with storage.atomic_folder(out) as folder:
        network, origin = load()
        what = served.make(network)
        models = formats_lib.write(what, folder, chosen, dtype)
        precision: dict[str, Any] = {"dtype": dtype, "tolerance": formats_lib.TOLERANCES[dtype]}
        described = interface.describe(what, models, origin, precision)
        storage.write_json(folder / DESCRIPTION, described)
        print("computing the expected answers to the test cases of the bundle", flush=True)
        contract.write(what, folder / "contract")
        for name in _BUNDLED:
            text = importlib.resources.files("dtc_jax.serving.bundled") / name
            storage.write_text(folder / name, text.read_text(encoding="utf-8"))
        storage.write_text(folder / "LICENSE", _license())
        write_sums(folder)
        precision["largest_difference"] = _verify(folder, chosen)
        storage.write_json(folder / DESCRIPTION, described)
        storage.write_text(folder / "model_card.md", card.make(what, run, described))
        write_sums(folder)
    print(f"Everything is in {out}/ (model_card.md first).")


def _license() -> str:
    """The licence of dtc-jax: that of the clone, or of the installed package."""
    clone = pathlib.Path(__file__).parents[2] / "LICENSE"
    if clone.is_file():
        return clone.read_text(encoding="utf-8")
    for path in importlib.metadata.files("dtc-jax") or ():
        if path.name == "LICENSE":
            return path.read_text(encoding="utf-8")
    return f"{importlib.metadata.metadata('dtc-jax')['License-Expression']}\n"


def write_sums(folder: pathlib.Path) -> None:
    """Writes SHA256SUMS of all other files of a bundle."""
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    names = sorted(files - {_SUMS})  # it is written again once the difference is known
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in names
    ]
    storage.write_text(folder / _SUMS, "\n".join(lines) + "\n")


def _verify(folder: pathlib.Path, formats: Sequence[str]) -> dict[str, float]:
    """Has the bundle's verify.py check each format; returns the largest difference by format.

    Raises:
      InputError: it fails.
    """
    said: list[str] = []
    differences: dict[str, float] = {}
    for kind in formats:
        lines, found = _verify_one(folder, kind)
        print("\n".join(line for line in lines if line not in said), flush=True)
        said += lines  # that the files are whole is said once
        differences |= found
    return differences


def _verify_one(folder: pathlib.Path, kind: str) -> tuple[list[str], dict[str, float]]:
    """Calls verify.py for one format, on the CPU, in a process that has no other's runtime.

    Returns:
      The lines that it prints, and the largest difference of the format, if that has a graph.

    Raises:
      InputError: it fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found = pathlib.Path(scratch) / "differences.json"
        command = [sys.executable, "-I", str(folder / "verify.py"), f"--differences={found}"]
        done = subprocess.run(
            [*command, f"--format={kind}"],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        differences = storage.read_json(found) if found.is_file() else {}
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise InputError(
            "the exported network does not reproduce the run, so the bundle was removed: "
            f"{reason[0]}"
        )
    return done.stdout.splitlines(), {name: float(value) for name, value in differences.items()}

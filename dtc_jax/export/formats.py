"""The serving formats: what each needs, where it stands in a bundle, and how it is written."""

import importlib.util
import pathlib
from collections.abc import Iterable, Sequence

import jax

from dtc_jax import storage
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.export.served import Served
from dtc_jax.statistics.formatting import count

# The extra of each format, and the libraries of it that write the format and run it.
_LIBRARIES = {
    "stablehlo": ("serve", ("flatbuffers",)),
    "onnx": ("serve", ("onnx", "onnxruntime")),
    "savedmodel": ("savedmodel", ("tensorflow",)),
    "safetensors": ("serve", ("safetensors",)),
}
FORMATS = tuple(_LIBRARIES)
# What a probability may differ by from the run's, whose own numbers are those of float32.
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.02, "float16": 0.02}
# A file of protobuf, as ONNX is, or of flatbuffers, as StableHLO is, ends below 2 GiB; the rest is
# for the graph. The other formats have their weights beside it.
_IN_ONE_FILE, _MOST_BYTES = ("onnx", "stablehlo"), 2**31 - 2**26


def choose(formats: Sequence[str] = (), dtype: str = "float32") -> tuple[str, ...]:
    """The formats to write: those that are named, or all whose libraries are installed.

    Args:
      formats: of `FORMATS`; none for all that take `dtype`.
      dtype: of the computation.

    Raises:
      InputError: a library is missing; names the extra.
      UsageError: there is no such format or dtype, or a format does not take the dtype.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise unknown_choice("--format", kind, FORMATS)
    if dtype not in TOLERANCES:
        raise unknown_choice("--dtype", dtype, TOLERANCES)
    if dtype == "bfloat16" and "onnx" in formats:
        raise UsageError(
            "--dtype=bfloat16: ONNX Runtime has no convolutions in bfloat16 on a CPU; use float16, "
            "or omit onnx from --format."
        )
    if dtype != "float32" and formats and {*formats} == {"safetensors"}:
        raise UsageError(
            f"--dtype={dtype}: safetensors has the weights alone, always in float32; omit --dtype, "
            "or name a further --format."
        )
    wanted = formats or [kind for kind in FORMATS if (kind, dtype) != ("onnx", "bfloat16")]
    missing = {
        kind: [name for name in _LIBRARIES[kind][1] if importlib.util.find_spec(name) is None]
        for kind in wanted
    }
    possible = tuple(kind for kind, names in missing.items() if not names)
    absent = sorted({name for names in missing.values() for name in names})
    left = [kind for kind in wanted if kind not in possible]
    if absent and (formats or not possible):
        raise InputError(
            f"--format={','.join(wanted)}: needs {' and '.join(absent)}; run "
            f"pip install {_extras(left)}."
        )
    if absent:
        print(
            f"Without {', '.join(left)}: install {_extras(left)} for {' and '.join(absent)}.",
            flush=True,
        )
    return possible


def _extras(formats: Iterable[str]) -> str:
    """What pip installs for formats."""
    return f"'dtc-jax[{','.join(sorted({_LIBRARIES[kind][0] for kind in formats}))}]'"


def write(what: Served, folder: pathlib.Path, formats: Sequence[str], dtype: str) -> dict[str, str]:
    """Writes the models; their paths in the bundle by format.

    Args:
      what: the network.
      folder: of the bundle.
      formats: as `choose` gives them.
      dtype: of the computation.

    Raises:
      InputError: the library of a format cannot write it.
      UsageError: a field of the configuration has no equal in a format, or the weights are more
        than a format can hold.
    """
    _check_size(what, formats)
    notes = {"task": what.network.config.task, **what.network.fingerprints}
    if "onnx" in formats:
        from dtc_jax.export import onnx_model

        onnx_model.check(what.network)  # before other formats take their time
    writers = {
        "stablehlo": lambda: _stablehlo(what.computed_in(dtype), folder),
        "onnx": lambda: _onnx(what, folder, notes, dtype),
        "savedmodel": lambda: _savedmodel(what.computed_in(dtype), folder),
        "safetensors": lambda: _safetensors(what, folder, notes),
    }
    paths = {}
    for kind in formats:
        print(f"{kind}: writing", flush=True)
        paths[kind] = writers[kind]()
    return paths


def _check_size(what: Served, formats: Sequence[str]) -> None:
    """Refuses weights that do not fit into the one file of a format."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(what.network.variables))
    too_small = [kind for kind in formats if kind in _IN_ONE_FILE]
    if too_small and size > _MOST_BYTES:
        many = count(len(what.network.networks), "network")
        raise UsageError(
            f"--format={','.join(formats)}: the weights of {many} take {size / 1e9:.1f} GB, and "
            f"{' and '.join(too_small)} can hold {_MOST_BYTES / 1e9:.1f}; export one fold with "
            "--member, or name other formats (savedmodel, safetensors)."
        )


def _stablehlo(what: Served, folder: pathlib.Path) -> str:
    from dtc_jax.export import stablehlo

    return _written(folder, "stablehlo/model.stablehlo", stablehlo.make(what))


def _onnx(what: Served, folder: pathlib.Path, notes: dict[str, str], dtype: str) -> str:
    from dtc_jax.export import onnx_model, triton

    path = triton.path(what)
    model = onnx_model.make(what, notes, dtype)
    _written(folder, path, model.SerializeToString())
    storage.write_text((folder / path).parents[1] / "config.pbtxt", triton.config(what))
    return path


def _savedmodel(what: Served, folder: pathlib.Path) -> str:
    from dtc_jax.export import savedmodel

    path = savedmodel.path(what)
    savedmodel.write(what, folder / path)
    return path


def _safetensors(what: Served, folder: pathlib.Path, notes: dict[str, str]) -> str:
    from dtc_jax.export import weights

    path = _written(folder, "weights/model.safetensors", weights.make(what.network, notes))
    layout = weights.pytorch_layout(what.network)
    storage.write_json((folder / path).parent / "pytorch.json", layout)
    return path


def _written(folder: pathlib.Path, path: str, data: bytes) -> str:
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(data)
    return path

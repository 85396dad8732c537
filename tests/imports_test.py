"""BUILD's deps are the allowed imports: every import of the tree is held against them."""

import ast
import dataclasses
import functools
import graphlib
import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Mapping

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PLACES = ("dtc_jax", "datasets", "configs", "benchmarks", "tests", "launch.py")
RULES = ("py_library", "py_binary", "py_test")

# Libraries that one place alone may know, whatever a room's deps say. Tests may know all.
ONLY_IN = {
    "orbax": ("dtc_jax/training/checkpoint.py",),
    "tensorflow_datasets": (
        "dtc_jax/training/batches.py",
        "datasets/",
        "benchmarks/large_records.py",
    ),
    "grain": ("dtc_jax/training/batches.py",),
    "apache_beam": ("datasets/",),
    "ray": ("dtc_jax/sweep/on_ray.py",),
    "submitit": ("dtc_jax/sweep/on_slurm.py",),
    "dicomweb_client": ("dtc_jax/archive/dicomweb.py",),
    "pynetdicom": ("dtc_jax/archive/dimse.py",),
    "tensorflow": ("dtc_jax/export/savedmodel.py", "dtc_jax/serving/bundled/client.py"),
    **dict.fromkeys(("flatbuffers", "onnx", "safetensors"), ("dtc_jax/export/",)),
    "mlserver": ("dtc_jax/serving/mlserver_runtime.py",),
    "tritonclient": "benchmarks/",
    "onnxruntime": (
        "dtc_jax/serving/",
        "dtc_jax/export/onnx_model.py",
        "benchmarks/onnx_conv3d.py",
    ),
}
# Of extras that have an environment of their own.
OUTSIDE_THE_LOCK = {"mlserver", "openvino", "tensorflow", "torch", "tritonclient"}


@dataclasses.dataclass(frozen=True)
class Target:
    """A room: its files and what they may import."""

    name: str
    files: frozenset[str]
    deps: frozenset[str]


def read_build(root: pathlib.Path) -> dict[str, Target]:
    """The targets of `root`/BUILD, a file in Python's syntax."""
    targets = {}
    for statement in ast.parse((root / "BUILD").read_text()).body:
        call = getattr(statement, "value", None)
        if not isinstance(call, ast.Call) or ast.unparse(call.func) not in RULES:
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        name = ast.literal_eval(given["name"])
        assert name not in targets, f"BUILD:{call.lineno}: two targets are called {name}"
        deps = ast.literal_eval(given["deps"]) if "deps" in given else []
        targets[name] = Target(name, frozenset(_files(given["srcs"], root)), frozenset(deps))
    return targets


def _files(srcs: ast.expr, root: pathlib.Path) -> set[str]:
    if not isinstance(srcs, ast.Call):
        return set(ast.literal_eval(srcs))
    patterns = ast.literal_eval(srcs.args[0])
    return {path.relative_to(root).as_posix() for name in patterns for path in root.glob(name)}


def violations(root: pathlib.Path) -> list[str]:
    """Every import that its file's target does not allow, as `file:line: what and why`."""
    targets = read_build(root)
    owner = {file: target for target in targets.values() for file in target.files}
    found = []
    for file, target in sorted(owner.items()):
        for node in ast.walk(ast.parse((root / file).read_text())):
            for module in _imported(node):
                wrong = _refusal(module, file, target, owner)
                if wrong:
                    found.append(f"{file}:{node.lineno}: {wrong}")
    return found


def _imported(node: ast.AST) -> list[str]:
    """The modules a node imports; of `from a import b` it is `a.b`, which may be a name in `a`.

    The table `_PUBLIC` of `dtc_jax/__init__.py` imports, too: name -> module.
    """
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        prefix = "." * node.level + (node.module or "")
        return [f"{prefix}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_PUBLIC":
        return [f"{where}.{name}" for name, where in ast.literal_eval(node.value).items()]
    return []


def _refusal(module: str, file: str, target: Target, owner: dict[str, Target]) -> str | None:
    if module.startswith("."):
        return f"relative import {module}: write the full name"
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return None
    places = ONLY_IN.get(top)
    if places is not None and not file.startswith((*places, "tests/")):
        return f"imports {module}: {top} belongs in {' or '.join(places) or 'tests'} alone"
    theirs = _owner(module, owner)
    if theirs is not None:
        if theirs is target or f":{theirs.name}" in target.deps:
            return None
        return f"imports {module}: ':{theirs.name}' is not among the deps of ':{target.name}'"
    if top in ("dtc_jax", "datasets", "configs", "benchmarks", "launch"):
        return f"imports {module}: no target of BUILD holds it"
    labels = {f"@pypi//{_label(name)}" for name in _distributions().get(top, [top])}
    if labels & target.deps:
        return None
    return f"imports {module}: {min(labels)!r} is not among the deps of ':{target.name}'"


def _owner(module: str, owner: dict[str, Target]) -> Target | None:
    parts = module.split(".")
    for length in (len(parts), len(parts) - 1):
        path = "/".join(parts[:length])
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if file in owner:
                return owner[file]
    return None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """The distributions that bring each top-level module."""
    return importlib.metadata.packages_distributions()


def _label(distribution: str) -> str:
    return re.sub(r"[-_.]+", "_", distribution).lower()


def test_every_import_is_allowed():
    assert not violations(ROOT), "\n" + "\n".join(violations(ROOT))


def test_every_file_has_one_room():
    targets = read_build(ROOT)
    files = [file for target in targets.values() for file in target.files]
    twice = sorted({file for file in files if files.count(file) > 1})
    assert not twice, f"in two targets of BUILD: {twice}"
    tree = {
        path.relative_to(ROOT).as_posix()
        for place in PLACES
        for path in [ROOT / place, *(ROOT / place).rglob("*.py")]
        if path.is_file()
    }
    assert not tree - set(files), f"in no target of BUILD: {sorted(tree - set(files))}"
    assert not set(files) - tree, f"in BUILD but not in the tree: {sorted(set(files) - tree)}"
    empty = [target.name for target in targets.values() if not target.files]
    assert not empty, f"targets without files: {empty}"


def test_rooms_stand_on_each_other_without_a_cycle():
    targets = read_build(ROOT)
    graph = {
        target.name: {dep[1:] for dep in target.deps if dep.startswith(":")}
        for target in targets.values()
    }
    assert set().union(*graph.values()) <= set(graph), "a dep names no target"
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("imaging") < order.index("training") < order.index("runs")


def test_ground_rooms_know_no_jax():
    names = ("imaging", "statistics", "audit", "cohort", "crops", "datasets", "inference")
    for name in (*names, "serving", "prediction"):
        assert "@pypi//jax" not in read_build(ROOT)[name].deps


def test_pypi_deps_are_in_the_requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    locked = {_label(line.split("==")[0]) for line in lines if "==" in line}
    deps = {dep for target in read_build(ROOT).values() for dep in target.deps}
    wanted = {dep for dep in deps if dep.startswith("@pypi//")}
    missing = wanted - {f"@pypi//{name}" for name in locked | OUTSIDE_THE_LOCK}
    assert not missing, f"not in requirements.txt: {sorted(missing)}; run make requirements.txt"


def test_module_bazel_is_parsed_and_versions_agree():
    text = (ROOT / "MODULE.bazel").read_text()
    calls = {
        ast.unparse(s.value.func): s.value
        for s in ast.parse(text).body
        if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)
    }
    module = {k.arg: ast.literal_eval(k.value) for k in calls["module"].keywords}
    setup = (ROOT / "setup.cfg").read_text()
    assert module["name"] == "dtc_jax"
    assert f"\nversion = {module['version']}\n" in setup
    assert f"version: {module['version']}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import json", None),
        ("from dtc_jax import errors", None),
        ("from dtc_jax.errors import InputError", None),
        ("from dtc_jax import upper", "':upper' is not among the deps of ':lower'"),
        ("from dtc_jax.upper.part import x", "':upper' is not among the deps of ':lower'"),
        ("def f():\n    import dtc_jax.upper.part", "2: imports dtc_jax.upper.part"),
        ("import numpy as np", None),
        ("import jax.numpy as jnp", "'@pypi//jax' is not among the deps"),
        ("import orbax.checkpoint", "belongs in dtc_jax/training/checkpoint.py alone"),
        ("from . import part", "relative import"),
        ("_PUBLIC = {'x': 'dtc_jax.errors'}", None),
        ("_PUBLIC = {'x': 'dtc_jax.upper.part'}", "':upper' is not among the deps of ':lower'"),
    ],
)
def test_a_forbidden_import_is_named_with_file_and_line(tmp_path, statement, expected):
    (tmp_path / "BUILD").write_text(
        'py_library(name = "errors", srcs = ["dtc_jax/errors.py"])\n'
        'py_library(name = "lower", srcs = glob(["dtc_jax/lower/*.py"]),\n'
        '    deps = [":errors", "@pypi//numpy"])\n'
        'py_library(name = "upper", srcs = glob(["dtc_jax/upper/*.py"]), deps = [":lower"])\n'
    )
    for name in ("errors.py", "lower/__init__.py", "upper/__init__.py", "upper/part.py"):
        (tmp_path / "dtc_jax" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dtc_jax" / name).touch()
    (tmp_path / "dtc_jax/lower/__init__.py").write_text(f"{statement}\n")
    found = violations(tmp_path)
    assert bool(found) == bool(expected)
    if expected:
        assert found[0].startswith("dtc_jax/lower/__init__.py:")
        assert expected in found[0]

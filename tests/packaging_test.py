"""What is installed is `dtc_jax` alone, and what it imports is what setup.cfg asks for."""

import ast
import configparser
import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).parents[1]
# Of the extras; imported where they are used.
OPTIONAL = {"apache-beam", "highdicom", "onnx", "onnxruntime", "safetensors", "simpleitk"}
BY_OTHERS = {"array-record"}  # TFDS reads and writes record files by it, but does not require it


def _names(requirements: str) -> set[str]:
    found = re.findall(r"^\s*([\w.-]+)", requirements, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def _setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def _imported() -> set[str]:
    """The top-level names that the code (not the tests) imports from outside."""
    files = [ROOT / "launch.py"]
    for place in ("dtc_jax", "datasets", "configs"):
        files += (ROOT / place).rglob("*.py")
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"dtc_jax", "datasets", "configs"}


def test_requirements_are_what_is_imported():
    required = _names(_setup()["options"]["install_requires"])
    distributions = importlib.metadata.packages_distributions()
    brought_by = {
        top: {re.sub(r"[-_.]+", "-", name).lower() for name in distributions.get(top, [top])}
        for top in _imported()
    }
    undeclared = {top for top, names in brought_by.items() if not names & (required | OPTIONAL)}
    assert not undeclared, f"imported but not in install_requires: {sorted(undeclared)}"
    imported = set().union(*brought_by.values())
    idle = required - imported - BY_OTHERS
    assert not idle, f"in install_requires but never imported: {sorted(idle)}"


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in (ROOT / "dtc_jax").rglob("*.py")}
    bare = [
        str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()
    ]
    assert not bare, f"left out of the wheel for want of an __init__.py: {bare}"


def test_the_wheel_holds_dtc_jax_alone(tmp_path):
    for place in ("dtc_jax", "datasets", "configs"):
        shutil.copytree(ROOT / place, tmp_path / place)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "BUILD", "launch.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    code = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "dist"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dtc_jax"}
    modules = {name for name in names if name.endswith(".py")}
    assert modules == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "dtc_jax").rglob("*.py")
    }
    needed = [
        path for kind in ("csv", "html", "css", "js") for path in ROOT.glob(f"dtc_jax/**/*.{kind}")
    ]
    assert needed
    assert {path.relative_to(ROOT).as_posix() for path in needed} <= set(names)

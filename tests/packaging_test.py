"""A wheel holds `dtc_jax` alone, works by itself, and asks in setup.cfg for what it imports."""

import ast
import configparser
import importlib.metadata
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import types
import venv
import zipfile
from collections.abc import Iterator

import pytest
from absl import flags
from absl.testing import flagsaver

import launch  # its flags must be defined before flagsaver looks
from dtc_jax import __main__ as command

ROOT = pathlib.Path(__file__).parents[1]
CODE = ("dtc_jax", "datasets", "configs")
PLACES = (*CODE, "tests", "benchmarks")
# Of the extras; imported where they are used.
OPTIONAL = {
    *("apache-beam", "highdicom", "simpleitk", "ray", "submitit"),
    *("dicomweb-client", "pynetdicom", "requests"),
    *("onnx", "onnxruntime", "safetensors", "mlserver", "tensorflow"),
}
BY_OTHERS = {"array-record"}  # TFDS reads and writes record files by it, but does not require it


def _names(requirements: str) -> set[str]:
    found = re.findall(r"^\s*([\w.-]+)", requirements, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def _setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def _package() -> set[pathlib.Path]:
    return set((ROOT / "dtc_jax").rglob("*.py"))


def _code() -> set[pathlib.Path]:
    return {ROOT / "launch.py"} | {path for place in CODE for path in (ROOT / place).rglob("*.py")}


def _modules(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _tops(tree: ast.AST) -> set[str]:
    return {name.split(".")[0] for name in _modules(tree)}


def _imported() -> set[str]:
    """The top-level names that the code (not the tests) imports from outside."""
    names = set().union(*(_tops(ast.parse(file.read_text())) for file in _code()))
    return names - set(sys.stdlib_module_names) - {*CODE, "launch"}


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
    folders = {path.parent for place in CODE for path in (ROOT / place).rglob("*.py")}
    bare = [
        str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()
    ]
    assert not bare, f"no package for want of an __init__.py: {bare}"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist of a copy of the project, unpacked."""
    copy = tmp_path_factory.mktemp("project")
    for path in (*PLACES, "docs"):
        shutil.copytree(ROOT / path, copy / path)
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in ("BUILD", "launch.py"):
        shutil.copy(ROOT / name, copy / name)
    (archive,) = built("sdist", copy)
    with tarfile.open(archive) as opened:
        opened.extractall(copy / "unpacked", filter="data")
    (folder,) = (copy / "unpacked").iterdir()
    return folder


@pytest.fixture(scope="module")
def wheel(sdist):
    """The wheel that the sdist builds."""
    (path,) = built("wheel", sdist)
    return path


def built(kind, folder):
    code = f"import sys, setuptools.build_meta as b; b.build_{kind}('dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [*(folder / "dist").iterdir()]


def test_the_sdist_has_the_layout_of_the_repository(sdist):
    for name in (*PLACES, "launch.py", "setup.cfg", "BUILD"):
        assert (sdist / name).exists(), name


def test_the_wheel_holds_dtc_jax_alone_and_all_of_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dtc_jax"}
    beside = {f"dtc_jax/{path.relative_to(ROOT).as_posix()}" for path in _code() - _package()}
    modules = {name for name in names if name.endswith(".py")}
    assert modules == beside | {path.relative_to(ROOT).as_posix() for path in _package()}
    needed = [
        path for kind in ("csv", "html", "css", "js") for path in ROOT.glob(f"dtc_jax/**/*.{kind}")
    ]
    assert needed
    assert {path.relative_to(ROOT).as_posix() for path in needed} <= set(names)
    claims = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/claims/*.yaml")}
    assert claims
    assert {"dtc_jax/py.typed", *(f"dtc_jax/{name}" for name in claims)} <= set(names)


def test_what_is_in_the_wheel_imports_it_by_its_name_there(wheel):
    archive, named = zipfile.ZipFile(wheel), set()
    for name in archive.namelist():
        if name.endswith(".py"):
            text = archive.read(name).decode()
            named |= {
                found for found in _modules(ast.parse(text)) if found.startswith("dtc_jax.configs")
            }
            wrong = set(_tops(ast.parse(text))) & {"configs", "datasets", "launch"}
            assert not wrong, (name, wrong)
            assert "-m datasets" not in text, name
    assert "dtc_jax.configs" in named


def test_the_command_takes_the_mode_as_a_word(monkeypatch, capsys, tmp_path):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["dtc-jax", *arguments])
        return command.main()

    assert launch.flags is flags
    former = signal.getsignal(signal.SIGTERM)
    with flagsaver.flagsaver():
        assert call("export", "--out=b") == 2
    assert capsys.readouterr().err.startswith("dtc-jax: --mode=export needs --workdir=DIR")
    with flagsaver.flagsaver():
        assert call("--help") == 0
    said = capsys.readouterr().out
    assert "dtc-jax train --config=configs/senet.py:demo" in said
    assert "dtc-jax evaluate --workdir=runs/senet-demo" in said
    assert "launch.py" not in said.partition("Flags:")[0]
    flags.FLAGS.unparse_flags()
    signal.signal(signal.SIGTERM, former)


def test_a_file_that_ships_is_found_from_everywhere(monkeypatch, tmp_path):
    place = types.SimpleNamespace(submodule_search_locations=[str(ROOT / "configs")])
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: place)
    monkeypatch.chdir(tmp_path)
    shipped = f"--config={ROOT}/configs/senet.py:demo"
    assert command._found("--config=configs/senet.py:demo") == shipped
    assert command._found("configs/sweeps/demo.py") == f"{ROOT}/configs/sweeps/demo.py"
    for other in ("--config=configs/mine.py", "--config.model.width=3", "--out=configs/senet.py"):
        assert command._found(other) == other
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "senet.py").touch()  # the user's own comes first
    assert command._found("--config=configs/senet.py:demo") == "--config=configs/senet.py:demo"


@pytest.mark.extras
def test_the_wheel_trains_and_predicts_in_an_environment_of_its_own(wheel, study, tmp_path):
    home = tmp_path / "env"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    # By a PYTHONPATH, as the tests may have one, the clone would count as installed.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([*install, "--no-index", "--quiet", str(wheel)], check=True, env=env)
    # The libraries are those of this environment, which lists its editable clone in a .pth file:
    # such files are not read in a folder that is itself named by one.
    (site,) = (home / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    work = tmp_path / "work"
    work.mkdir()

    def said(*command):
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import dtc_jax.configs.sweeps.study, dtc_jax; print(dtc_jax.__file__)"
    assert said(python, "-c", code).startswith(str(site))
    assert "-m dtc_jax.datasets.build" in said(python, "-m", "dtc_jax.datasets.build", "--help")
    dtc_jax = home / "bin" / "dtc-jax"
    audited = said(dtc_jax, "audit", "--claims=configs/claims/dtc_study.yaml")
    assert "npv" in audited.lower()
    run = work / "run"
    fields = {
        "data.source": "manifest",
        "data.manifest": study,
        "data.size_mm": (16, 16, 16),
        "preprocess.crop_mm": (16, 16, 16),
        "model.width": 4,
        "model.stages": 1,
        "train.epochs": 2,
        "train.batch_size": 8,
        "write_report": False,
    }
    given = [f"--config.{name}={value}" for name, value in fields.items()]
    said(dtc_jax, "train", "--config=configs/senet.py:demo", *given, f"--workdir={run}")
    scan, mask = study.parent / "p01.nii.gz", study.parent / "p01-mask.nii.gz"
    said(
        *(dtc_jax, "predict", f"--scan={scan}", f"--lesions={mask}"),
        *(f"--classifier={run}", "--out=answer"),
    )
    assert len((work / "answer" / "lesions.csv").read_text().splitlines()) == 3
    assert not (work / "dtc_jax").exists()

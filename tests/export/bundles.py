"""What the tests do with the files of a bundle."""

import importlib.util
import json
import pathlib
import sys

import pytest


def load(path: pathlib.Path):
    """One of its programs as a module."""
    spec = importlib.util.spec_from_file_location("bundled", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # it would be one file too many
        spec.loader.exec_module(module)
    return module


def describe(folder: pathlib.Path) -> dict:
    """The contents of preprocessing.json."""
    return json.loads((folder / "preprocessing.json").read_text())

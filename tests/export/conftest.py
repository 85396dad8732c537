"""Runs of an earlier version, with their figures."""

import pathlib
import tarfile

import pytest

ARCHIVE = pathlib.Path(__file__).parents[1] / "data" / "earlier_runs.tar.gz"


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> pathlib.Path:
    """The folders `classifier`, one network, and `folds`, two with different fields of view."""
    folder = tmp_path_factory.mktemp("runs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def exported(call, runs, tmp_path_factory) -> pathlib.Path:
    """The bundle of a classifier in all formats; not to be changed."""
    out = tmp_path_factory.mktemp("exported") / "bundle"
    assert call("--mode=export", f"--workdir={runs / 'classifier'}", f"--out={out}") == 0
    return out

"""The documentation builds as a site without a warning, and its reference is complete."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import dtc_jax

pytestmark = pytest.mark.extras  # needs MkDocs

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # about a later MkDocs
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stderr
    return folder


def test_every_public_name_is_in_the_reference(site):
    text = (site / "reference.html").read_text()
    described = set(re.findall(r'id="dtc_jax\.api\.(\w+)"', text))
    assert described == {name for name, where in dtc_jax._PUBLIC.items() if where == "dtc_jax.api"}
    for name in (
        "prediction.loaded.load",
        "imaging.in_memory.Image",
        "errors.Stopped",
        "prediction.answer.Answer",
        "imaging.volume.Volume",
    ):
        assert f'id="dtc_jax.{name}"' in text

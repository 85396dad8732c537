"""A build that is killed leaves no dataset, and the next one clears up after it."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from datasets import build
from dtc_jax.training.batches import Records

pytestmark = pytest.mark.extras  # kills processes and waits for others

# Builds, but stands still while it writes the second shard.
CODE = """
import json, pathlib, sys, time
from datasets import build, records
from dtc_jax.crops import extraction

records._SHARD_SIZE = 2
cut_scan = extraction.cut_scan

def slow(scan, params):
    if "p3" in scan.image:
        pathlib.Path(sys.argv[3]).touch()
        time.sleep(60)
    return cut_scan(scan, params)

extraction.cut_scan = slow
build.build("lesion_crops", json.loads(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def killed(config, tmp_path):
    """data_dir, after a build in it was killed."""
    reached = tmp_path / "reached"
    arguments = [json.dumps(config), str(tmp_path / "data"), str(reached)]
    process = subprocess.Popen([sys.executable, "-c", CODE, *arguments])
    deadline = time.monotonic() + 60
    while not reached.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    return tmp_path / "data"


def test_no_half_dataset_is_left_and_the_next_build_clears_up(config, killed):
    assert [path.name for path in killed.glob("lesion_crops*")] == []
    (partial,) = killed.glob(".partial-*")
    assert list(partial.rglob("*array_record*"))  # it was killed in the middle of writing
    folder = build.build("lesion_crops", config, killed)
    assert len(Records(folder)) == 5
    assert not list(killed.glob(".partial-*"))


def test_two_builds_at_once_build_once(config, tmp_path):
    data_dir = tmp_path / "data"
    command = [sys.executable, "-m", "datasets.build", "lesion_crops"]
    command += [f"--config={json.dumps(config)}", f"--data_dir={data_dir}"]
    with build._alone(_made(data_dir)):
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [process.stderr.readline() for process in both]
        assert all("waiting for another build" in line for line in said)
        assert not list(data_dir.glob("lesion_crops*"))
    folders = {process.communicate()[0].strip() for process in both}
    assert len(folders) == 1
    assert len(Records(folders.pop())) == 5


def _made(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    return folder


def test_an_unguarded_script_is_told_so_and_does_not_wait_for_itself(config, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json\n"
        "import sys\n"
        "from datasets import build\n"
        "from dtc_jax.crops import processes\n"
        "processes._ALONE_SECONDS = -1\n"
        "build.build('lesion_crops', json.loads(sys.argv[1]), sys.argv[2], workers=2)\n"
    )
    command = [sys.executable, str(script), json.dumps(config), str(tmp_path / "data")]
    there = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    ended = subprocess.run(
        command, env=there, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode
    assert "below if __name__ == '__main__':" in ended.stderr
    assert "waiting" not in ended.stderr

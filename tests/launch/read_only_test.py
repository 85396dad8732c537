"""The data are on a disk that cannot be written: what is built there is used, and nothing else."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.launch.conftest import CONFIG, ROOT, TINY

pytestmark = pytest.mark.extras  # each run is a process

# Modes of a file mean nothing to root, but a mount of its own does.
_MOUNT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def _read_only(folder, command):
    """Runs `command`, for which alone `folder` is read-only."""
    rights = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    whole = ["unshare", *rights, "--mount", "sh", "-c", _MOUNT, str(folder), *map(str, command)]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True)


def _contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder that this test can mount anew."""
    folder = tmp_path_factory.mktemp("disk")
    if shutil.which("unshare") is None or _read_only(folder, ["true"]).returncode:
        pytest.skip("nothing may be mounted here: needs Linux and root, or user namespaces")
    assert _read_only(folder, ["touch", folder / "x"]).returncode
    return folder


@pytest.fixture(scope="module")
def launch(disk, study):
    """Runs launch.py, by default on the study whose scans and built data are on the disk."""
    shutil.copytree(study.parent, disk / "study")

    def launch(*arguments, read_only=True, config=True):
        changed = {argument.partition("=")[0] for argument in arguments}
        fields = [f"--config.data.manifest={disk / 'study' / study.name}"]
        fields += [f"--config.data.folder={disk / 'data'}"]
        fields += [field for field in TINY if field.partition("=")[0] not in changed]
        whole = [f"--config={CONFIG}:demo", *fields] if config else []
        command = [sys.executable, f"{ROOT}/launch.py", *whole, *arguments]
        if read_only:
            return _read_only(disk, command)
        return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)

    return launch


@pytest.fixture(scope="module")
def built(launch, tmp_path_factory):
    """The data of the study are built; gives the folder of the run that did so."""
    run = tmp_path_factory.mktemp("runs") / "first"
    done = launch(f"--workdir={run}", read_only=False)
    assert done.returncode == 0, done.stderr
    return run


def test_what_is_built_is_trained_on_evaluated_and_predicted(launch, disk, built, tmp_path):
    before = _contents(disk)
    run = tmp_path / "run"
    done = launch(f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.json").is_file()
    done = launch("--mode=evaluate", f"--workdir={run}", config=False)
    assert done.returncode == 0, done.stderr
    scan, mask = (disk / "study" / name for name in ("p03.nii.gz", "p03-mask.nii.gz"))
    done = launch(
        *("--mode=predict", f"--scan={scan}", f"--lesions={mask}", f"--classifier={run}"),
        f"--out={tmp_path / 'answer'}",
        config=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "answer").iterdir())
    assert _contents(disk) == before


@pytest.mark.parametrize(
    "change",
    [
        "--config.data.size_mm=(18,18,18)",  # other crops
        "--config.data.source=phantom",  # other scans
    ],
)
def test_what_is_not_built_is_refused_in_one_message(launch, disk, built, tmp_path, change):
    before = _contents(disk)
    done = launch(f"--workdir={tmp_path / 'run'}", change)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (message,) = (line for line in done.stderr.splitlines() if line.startswith("launch.py: "))
    assert str(disk / "data") in message
    assert "cannot be written" in message
    assert _contents(disk) == before

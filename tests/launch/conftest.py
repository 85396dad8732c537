"""launch.py on a study of 22 patients with lesions of 16 mm: a few seconds a run."""

import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

import launch

ROOT = pathlib.Path(launch.__file__).parent
CONFIG = f"{ROOT}/configs/senet.py"
TINY = [
    "--config.data.source=manifest",
    "--config.data.size_mm=(16,16,16)",
    "--config.preprocess.crop_mm=(16,16,16)",
    "--config.preprocess.spacing_mm=1.0",
    "--config.model.width=4",
    "--config.model.stages=1",
    "--config.optimizer.learning_rate=0.02",
    "--config.train.batch_size=8",
    "--config.train.epochs=4",
    "--config.train.evaluate_every_epochs=1",
    "--config.train.log_every_steps=1",
    "--config.report.margin=0.1",
    "--config.write_report=False",
]


@pytest.fixture(scope="module")
def train(call, study, tmp_path_factory) -> Callable[..., int]:
    """Calls launch.py to train in a workdir; the crops are built once for all."""
    data = tmp_path_factory.mktemp("data")

    def train(workdir, *arguments, config=CONFIG):
        fields = [f"--config.data.manifest={study}", f"--config.data.folder={data}"]
        return call(f"--config={config}:demo", *TINY, *fields, f"--workdir={workdir}", *arguments)

    return train


@pytest.fixture
def run_apart(study) -> Callable[..., subprocess.Popen]:
    """Starts launch.py in a process of its own, with as many devices as this one has."""

    def run_apart(workdir, *wrapper):
        data = workdir.parent / "data"
        fields = [f"--config.data.manifest={study}", f"--config.data.folder={data}"]
        command = [sys.executable, f"{ROOT}/launch.py", f"--config={CONFIG}:demo", *TINY, *fields]
        return subprocess.Popen(
            [*wrapper, *command, f"--workdir={workdir}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run_apart


@pytest.fixture
def refused(capsys) -> Callable[..., None]:
    """Checks that launch.py ended with one message that has these words, and no stack trace."""

    def refused(*words):
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert said.count("launch.py: ") == 1
        message = said[said.index("launch.py: ") :]
        for word in words:
            assert word in message

    return refused

"""Strict numerics, eight host devices, compiled code kept on disk, and a tiny study."""

import contextlib
import importlib.metadata
import os
import pathlib
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

# Where a test has the disk run full, Python would leave half a compiled module in the environment.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Hardly optimised code: tests compile more than they compute, and take half the time. (Level 0 is
# faster still, but jaxlib 0.10.2 then returns NaN gradients from a step on eight devices.)
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=1",
        # A third less to compile, and a tenth. An unknown flag would end the tests.
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        if importlib.metadata.version("jaxlib").startswith("0.10.")
        else "",
    )
).strip()
# Compiled code is kept on disk, for the other files, processes and calls that need the same. JAX
# finds it by a hash of program, versions and flags, so a change compiles anew. The settings are
# environment variables because some tests start processes.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax-compiled"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

import jax
import numpy as np
import pandas as pd
import pytest

from dtc_jax.imaging import volume
from dtc_jax.report import drawing
from dtc_jax.statistics import baselines

pytest_plugins = ("tests.trained_runs", "tests.slurm_node")

sys.dont_write_bytecode = False  # until all is collected, see `pytest_collection_finish`
jax.config.update("jax_numpy_rank_promotion", "raise")
baselines.TREES = 50  # every small training fits a forest, which would take a fifth of its time
drawing.DPI = 30  # and draws its report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps a file's tests in one process, and those of the pipeline, which share a trained run.

    The marker `xdist_group` would do, but pytest-xdist 3.8 loses it under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = pathlib.PurePosixPath(nodeid.partition("::")[0])
            return str(path.parent if path.parent.name == "pipeline" else path)

    config.option.loadscopereorder = False  # the files with few tests take longest
    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """From here on; the next start need not rewrite 250 files, which takes ten seconds."""
    sys.dont_write_bytecode = True


@pytest.fixture(scope="session")
def call() -> Callable[..., int]:
    """Calls launch.py with arguments, in this process; returns its exit code."""
    from absl import flags
    from absl.testing import flagsaver

    import dtc_jax.runs.train  # noqa: F401  it defines flags of Grain, which flagsaver must see before
    import launch

    def call(*arguments: object) -> int:
        argv = ["launch.py", *map(str, arguments)]
        former = signal.getsignal(signal.SIGTERM)
        with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", argv)  # where ml_collections looks for --config.a.b
            flags.FLAGS.unparse_flags()
            try:
                return launch.main(argv)
            finally:
                signal.signal(signal.SIGTERM, former)
                for name in [name for name in flags.FLAGS if name.startswith("config.")]:
                    delattr(flags.FLAGS, name)

    return call


@pytest.fixture
def little_memory() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A context in which this process gets 64 MiB beyond what it has."""
    if sys.platform != "linux":
        pytest.skip("limits the address space")

    @contextlib.contextmanager
    def little_memory() -> Iterator[None]:
        status = pathlib.Path("/proc/self/status").read_text()
        has = int(re.search(r"VmSize:\s+(\d+)", status)[1]) * 2**10
        former = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (has + 2**26, former[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, former)

    return little_memory


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> pathlib.Path:
    """Manifest of 22 patients with two lesions each: 20 primary, 2 external, one without a label.

    The lesions of a patient are of one class, and a bright one is positive, so that there is
    something to learn in a few steps.
    """
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    ball = sum((x - 5.5) ** 2 for x in np.indices((12, 12, 12))) < 20  # diameter 9 mm
    rows = []
    for number in range(22):
        name, label = f"p{number:02d}", number % 2
        hu = rng.normal(-850, 30, (16, 20, 32))
        numbered = np.zeros(hu.shape, np.uint8)
        for i, x in enumerate((2, 18), start=1):
            part = (slice(2, 14), slice(4, 16), slice(x, x + 12))
            hu[part] += ball * (300 + 500 * label)
            numbered[part] = i * ball
            rows.append((name, f"{name}-{i}", i, label, "primary" if number < 20 else "external"))
        volume.write(folder / f"{name}.nii.gz", volume.Volume(hu.astype(np.int16), np.eye(4)))
        volume.write(folder / f"{name}-mask.nii.gz", volume.Volume(numbered, np.eye(4)))
    columns = ["patient_id", "lesion_id", "mask_label", "label", "cohort"]
    table = pd.DataFrame(rows, columns=columns).astype({"label": "Int64"})
    table["image"] = table.patient_id + ".nii.gz"
    table["mask"] = table.patient_id + "-mask.nii.gz"
    table["age"] = 40 + table.index
    table.loc[0, "label"] = pd.NA
    table.to_csv(folder / "lesions.csv", index=False)
    return folder / "lesions.csv"

"""The stage `beam` of `large_cohorts`."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np

# The smallest field of view that a phantom may have, in coarse voxels.
_PHANTOM = {"external_patients": 0, "matrix": (28, 38, 52), "spacing_mm": (4.0, 3.0, 3.0)}
_SIZE_MM = (24, 24, 24)
GENERATING, WITHOUT_BEAM = "generating", "building without Beam"
_BUILDS = {
    "building by Beam": ["--use_beam"],
    "building by Beam, one process": ["--beam_pipeline_options=direct_running_mode=in_memory"],
    WITHOUT_BEAM: [],
}
_LOOK_SECONDS = 0.25
_TICKS = 100  # a second, of the times in /proc; fixed on Linux


@dataclasses.dataclass(frozen=True)
class Used:
    """What a command and the processes that it started have used.

    Attributes:
      seconds: by the clock.
      cpu_seconds: of all of them.
      peak_bytes: the most memory of all of them at once.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: float


def run(folder: pathlib.Path, sizes: list[int]) -> None:
    """Prints seconds, busy cores and the peak of memory of generating and of building, by size."""
    print("| patients | | s | busy cores | peak memory, GB |\n|---|---|---|---|---|", flush=True)
    for patients in sizes:
        for name, used in measured(folder / str(patients), patients):
            cells = (
                f"{used.seconds:.0f} | {used.cpu_seconds / used.seconds:.1f} |"
                f" {used.peak_bytes / 1e9:.2f}"
            )
            print(f"| {patients} | {name} | {cells} |", flush=True)


def measured(
    data: pathlib.Path, patients: int, builds: Iterable[str] = tuple(_BUILDS)
) -> Iterator[tuple[str, Used]]:
    """Generates a phantom of so many patients in `data` and builds its crops.

    Args:
      data: a new folder.
      patients: in small scans.
      builds: the ways to build, of `_BUILDS`.
    """
    phantom = _PHANTOM | {"patients": patients}
    config = json.dumps({"phantom": phantom, "size_mm": _SIZE_MM})
    code = (
        "import json, sys; from dtc_jax.cohort import phantom\n"
        "phantom.generate_in(sys.argv[1], phantom.PhantomSpec(**json.loads(sys.argv[2])))"
    )
    yield GENERATING, _used([sys.executable, "-c", code, str(data), json.dumps(phantom)])
    command = [sys.executable, "-m", "datasets.build", "lesion_crops", f"--config={config}"]
    for name in builds:
        yield name, _used([*command, f"--data_dir={data}", "--overwrite", *_BUILDS[name]])


def _used(command: list[str]) -> Used:
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reader.start()
    peak, cpu = 0.0, dict[int, float]()
    while process.poll() is None:
        seen = _tree(process.pid)
        peak = max(peak, sum(size for size, _ in seen.values()))
        cpu |= {pid: seconds for pid, (_, seconds) in seen.items()}
        time.sleep(_LOOK_SECONDS)
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed: {b''.join(said)[-500:].decode()}")
    return Used(time.monotonic() - start, float(np.sum([*cpu.values()])), peak)


def _tree(root: int) -> dict[int, tuple[float, float]]:
    """Bytes that are its own or shared among the tree, and CPU seconds, by process; Linux."""
    parents, found = {}, {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
            if int(entry.name) != root and parents[int(entry.name)] not in (root, *found):
                continue
            rollup = (entry / "smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        found[int(entry.name)] = (pss * 1024.0, (int(fields[11]) + int(fields[12])) / _TICKS)
    return found

"""The stage `beam` of `large_cohorts`."""

import json
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np

# The smallest field of view that a phantom may have, in coarse voxels.
_PHANTOM = {"external_patients": 0, "matrix": (28, 38, 52), "spacing_mm": (4.0, 3.0, 3.0)}
_SIZE_MM = (24, 24, 24)
_ALL_CORES = "direct_num_workers=0,direct_running_mode=multi_processing"
_BUILDS = {
    "building by Beam": ["--use_beam"],
    "building by Beam, a process a core": [f"--beam_pipeline_options={_ALL_CORES}"],
    "building without Beam": [],
}
_LOOK_SECONDS = 0.25
_TICKS = 100  # a second, of the times in /proc; fixed on Linux


def run(folder: pathlib.Path, sizes: list[int]) -> None:
    """Prints seconds, busy cores and the peak of memory of generating and of building, by size."""
    print("| patients | | s | busy cores | peak memory, GB |\n|---|---|---|---|---|", flush=True)
    for patients in sizes:
        phantom = _PHANTOM | {"patients": patients}
        config = json.dumps({"phantom": phantom, "size_mm": _SIZE_MM})
        data = folder / str(patients)
        code = (
            "import json, sys; from dtc_jax.cohort import phantom\n"
            "phantom.generate_in(sys.argv[1], phantom.PhantomSpec(**json.loads(sys.argv[2])))"
        )
        command = [sys.executable, "-c", code, str(data), json.dumps(phantom)]
        print(f"| {patients} | generating | {_measured(command)} |", flush=True)
        command = [sys.executable, "-m", "datasets.build", "lesion_crops", f"--config={config}"]
        for name, flags in _BUILDS.items():
            shown = _measured([*command, f"--data_dir={data}", "--overwrite", *flags])
            print(f"| {patients} | {name} | {shown} |", flush=True)


def _measured(command: list[str]) -> str:
    """Seconds, CPU seconds a second, and the most memory of the process and its descendants."""
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
    seconds = time.monotonic() - start
    return f"{seconds:.0f} | {np.sum([*cpu.values()]) / seconds:.1f} | {peak / 1e9:.2f}"


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

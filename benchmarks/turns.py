"""Peers that take turns in one run, so that a machine that slows down slows all of them."""

import ctypes
import dataclasses
import gc
import importlib.metadata
import importlib.util
import multiprocessing
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable

_LIBRARIES = ("jax", "grain", "onnxruntime", "torch", "tensorflow-cpu", "tensorflow")
_LIBRARIES += ("SimpleITK", "torchio", "monai")


@dataclasses.dataclass(frozen=True)
class Seconds:
    """How long something took.

    Attributes:
      wall: by the clock.
      cpu: of the CPU, of all threads, and of the processes that it has started and that still run.
    """

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Seconds:
    """Calls `work` once."""
    wall, cpu = time.monotonic(), _cpu()
    work()
    return Seconds(time.monotonic() - wall, _cpu() - cpu)


def in_turns(calls: dict[str, Callable[[], Seconds]], repeats: int) -> dict[str, Seconds]:
    """The medians of what each call says it took."""
    found: dict[str, list[Seconds]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            found[name].append(call())
    return {
        name: Seconds(
            statistics.median(one.wall for one in values),
            statistics.median(one.cpu for one in values),
        )
        for name, values in found.items()
    }


class Memory:
    """The memory of this process; on Linux with glibc.

    Attributes:
      at_start: bytes in use when it was made.
    """

    def __init__(self) -> None:
        self.at_start = _memory("VmRSS")

    def forget(self) -> None:
        """Gives back what is free, and begins the peak anew: without what compiling took."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most bytes in use since, more than `at_start`."""
        return _memory("VmHWM") - self.at_start


def _memory(name: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 2**10


def cpu_seconds(pid: int) -> float:
    """Of another process, which still runs; on Linux."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lacking(*modules: str) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def machine(*peers: str) -> str:
    """CPU, Python and the versions of the libraries that are there.

    Args: peers: modules with which to compare; those that are not installed are named.
    """
    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    libraries = [f"{name} {found[name]}" for name in _LIBRARIES if name in found]
    python = f"Python {platform.python_version()}"
    said = [f"{os.cpu_count()} x {names[0] if names else cpu}", python, *libraries]
    if missing := lacking(*peers):
        said.append(f"without {' and '.join(missing)}, which would be peers and are not installed")
    return ", ".join(said)


def _cpu() -> float:
    children = (child.pid for child in multiprocessing.active_children())
    return time.process_time() + sum(cpu_seconds(pid) for pid in children if pid)

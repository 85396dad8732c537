"""Processes that tests start on this host and that work together over loopback."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent import futures

ROOT = pathlib.Path(__file__).parents[1]


def start(
    count: int, arguments: Callable[[str, int], Sequence[object]], *, devices: int = 1
) -> list[subprocess.Popen[str]]:
    """Starts Python `count` times in the root of the project.

    Args:
      count: of processes.
      arguments: (address of a free port, number of the process) -> what Python is given.
      devices: of JAX in each process.
    """
    address = f"127.0.0.1:{free_ports(1)[0]}"
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    return [
        subprocess.Popen(
            (sys.executable, *map(str, arguments(address, number))),
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": flags},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]


def free_ports(count: int) -> list[int]:
    """Ports of this host, on loopback, that nobody uses just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def ended(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """What each printed to stdout and stderr by its end.

    All are read at once: one whose pipe is full would not get to the end that others wait for.
    """
    with futures.ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(lambda process: process.communicate(timeout=900), processes))


def until(holds: Callable[[], object], seconds: float = 60) -> object:
    """Waits until `holds()` is true, and returns what it gives; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return result

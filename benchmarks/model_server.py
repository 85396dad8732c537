"""A bundle on a real server: MLServer on this machine, asked over the wire by Triton's client."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtc_jax.serving.bundled import client

HOST = "127.0.0.1"
_START_SECONDS = 300.0
_STOP_SECONDS = 30.0
_MOST_BYTES = 2**29  # of a message
_KINDS = {"int16": "INT16", "uint8": "UINT8"}


class Failed(Exception):
    """The server does not start, or does not answer."""


@contextlib.contextmanager
def serving(bundle: pathlib.Path) -> Iterator[str]:
    """Runs MLServer with the model of a bundle for as long as the block lasts.

    Args:
      bundle: its folder.

    Yields:
      Address of the server's gRPC, on the loopback interface.

    Raises:
      Failed: it ends, or is not ready in time; with the reason that it wrote.
    """
    http, grpc, metrics = _free_ports(3)
    name = client.describe(bundle)["task"]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "host": HOST,
            "http_port": http,
            "grpc_port": grpc,
            "metrics_port": metrics,
            "parallel_workers": 0,
            "grpc_max_message_length": _MOST_BYTES,
        }
        model = {
            "name": name,
            "implementation": "dtc_jax.serving.mlserver_runtime.BundleRuntime",
            "parameters": {"uri": str(bundle.resolve())},
        }
        for file, value in (("settings", settings), ("model-settings", model)):
            pathlib.Path(folder, f"{file}.json").write_text(json.dumps(value), encoding="utf-8")
        log = pathlib.Path(folder, "log")
        home = str(pathlib.Path(__file__).parents[2])
        with log.open("w") as written:
            server = subprocess.Popen(
                [sys.executable, "-m", "mlserver.cli.main", "start", folder],
                env=os.environ | {"PYTHONPATH": home},
                stdout=written,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait(server, f"{HOST}:{grpc}", name, log)
                yield f"{HOST}:{grpc}"
            finally:
                server.terminate()
                try:
                    server.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def ask(connection: Any, name: str, arrays: dict[str, np.ndarray], outputs: list[str]) -> Any:
    """Sends arrays to a server; returns the named outputs.

    Args:
      connection: a client of `tritonclient.grpc`.
      name: of the model.
      arrays: inputs by name.
      outputs: names.
    """
    from tritonclient import grpc

    inputs = []
    for key, array in arrays.items():
        given = grpc.InferInput(key, list(array.shape), _KINDS[array.dtype.name])
        given.set_data_from_numpy(array)
        inputs.append(given)
    wanted = [grpc.InferRequestedOutput(key) for key in outputs]
    found = connection.infer(name, inputs, outputs=wanted)
    return {key: found.as_numpy(key) for key in outputs}


def _wait(server: subprocess.Popen, address: str, name: str, log: pathlib.Path) -> None:
    """Returns once the model is ready."""
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    end = time.monotonic() + _START_SECONDS
    with grpc.InferenceServerClient(address) as connection:
        while time.monotonic() < end and server.poll() is None:
            try:
                if connection.is_model_ready(name):
                    return
            except InferenceServerException:
                pass  # it does not listen yet
            time.sleep(0.2)
    lines = [line for line in log.read_text().splitlines() if "Error" in line]
    raise Failed(f"MLServer did not become ready: {lines[0] if lines else 'it gave no reason'}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]

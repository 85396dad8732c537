"""A bundle on MLServer: are its answers over the wire those of the contract, and how fast are they?

    python -m benchmarks.served BUNDLE [--clients=100 --requests=2000 --seconds=600]

It starts a server on the loopback interface, asks it all cases of the contract, one after the
other, and stops it. With --requests, clients then ask at once, each for one example of the
contract, until all requests are answered or the time is over. `make serve-demo` sets up what it
needs: MLServer, Triton's client, ONNX Runtime, NumPy. The exit code is 1 where an answer is wrong
or missing. gRPC cancels what a server has not begun on after 30 s, so on a machine that answers
fewer than 4 requests a second, use fewer than 100 clients.
"""

import argparse
import json
import pathlib
import sys
import threading
import time
from typing import Any

import numpy as np

from benchmarks import model_server as server
from dtc_jax.serving.bundled import client, verify


def difference(answer: dict[str, Any], expected: dict[str, np.ndarray]) -> float:
    """The largest of all outputs, see `verify.difference`."""
    return max(verify.difference(name, answer[name], wanted) for name, wanted in expected.items())


def load_test(
    address: str, name: str, bundle: pathlib.Path, clients: int, requests: int, seconds: float
) -> tuple[list[float], list[str], list[str], float]:
    """Asks with many clients at once.

    Returns:
      Milliseconds of each answer, which of them are wrong, the errors of requests that got none,
      and the seconds it all took.
    """
    from tritonclient import grpc

    tolerance = client.describe(bundle)["precision"]["tolerance"]
    examples = [
        ({k: x[i : i + 1] for k, x in arrays.items()}, expected["probability"][i : i + 1])
        for arrays, expected in verify.cases(bundle).values()
        for i in range(len(expected["probability"]))
    ]
    numbers, lock = iter(range(requests)), threading.Lock()
    taken: list[float] = []
    wrong: list[str] = []
    errors: list[str] = []
    start = time.monotonic()

    def work() -> None:
        with grpc.InferenceServerClient(address) as connection:
            while time.monotonic() - start < seconds:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                arrays, expected = examples[number % len(examples)]
                before = time.monotonic()
                try:
                    answer = server.ask(connection, name, arrays, ["probability"])
                except Exception as error:  # whatever a client may meet counts
                    errors.append(f"{type(error).__name__}: {error}")
                    continue
                taken.append(1e3 * (time.monotonic() - before))
                away = difference(answer, {"probability": expected})
                if away > tolerance:
                    wrong.append(f"request {number}: a probability differs by {away:.1e}")

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, wrong, errors, time.monotonic() - start


def main() -> int:
    """Prints a line for each case, and the figures of the load test."""
    from tritonclient import grpc

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0)
    flags = parser.parse_args()
    described = client.describe(flags.bundle)
    name, tolerance = described["task"], described["precision"]["tolerance"]
    failed = 0
    try:
        with server.serving(flags.bundle) as address:
            print(f"MLServer answers at {address}", flush=True)
            with grpc.InferenceServerClient(address) as connection:
                for case, (arrays, expected) in verify.cases(flags.bundle).items():
                    away = difference(
                        server.ask(connection, name, arrays, list(expected)), expected
                    )
                    failed += away > tolerance
                    print(f"{case:<10} batch {len(arrays['image'])}: within {away:.1e}", flush=True)
            if flags.requests:
                given = (flags.bundle, flags.clients, flags.requests, flags.seconds)
                failed += _report(flags, *load_test(address, name, *given))
    except server.Failed as error:
        print(f"served.py: {error}", file=sys.stderr)
        return 1
    print("stopped; " + ("answers are WRONG" if failed else "all answers are right"))
    return int(failed > 0)


def _report(
    flags: argparse.Namespace,
    taken: list[float],
    wrong: list[str],
    errors: list[str],
    seconds: float,
) -> int:
    """Prints the figures of a load test; how many requests were not answered rightly."""
    missing = flags.requests - len(taken)
    figures = {
        "clients": flags.clients,
        "requests": flags.requests,
        "failed_or_late": missing,
        "wrong": len(wrong),
        "seconds": round(seconds, 1),
        "per_second": round(len(taken) / seconds, 1),
    }
    if taken:
        p50, p99 = np.percentile(taken, [50, 99])
        figures |= {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}
    print(json.dumps(figures))
    for line in (errors + wrong)[:3]:
        print(line, file=sys.stderr)
    return missing + len(wrong)


if __name__ == "__main__":
    sys.exit(main())

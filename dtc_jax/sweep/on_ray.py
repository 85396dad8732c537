"""The engine `ray`: a trial a GPU or a share of one, or a group of CPU cores, on one machine or a
cluster of Ray. Uses Ray, of the extra `ray`.

Ray counts what is free and says which GPU a trial gets; a trial is a process of its own beside
Ray's, so that one that crashes or is killed sinks nothing else. On a cluster all nodes must see the
sweep's folder and have this environment.
"""

import contextlib
import os
import pathlib
import socket
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from dtc_jax.errors import InputError, UsageError, one_line
from dtc_jax.sweep import driver, jobs, local

# A cluster of Ray 2.60 asks for a token by default. A program that is given its address sends the
# token of this machine only where this says so, which Ray reads as it is imported.
_TOKEN = os.path.expanduser("~/.ray/auth_token")
if os.path.isfile(_TOKEN) or {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & {*os.environ}:
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray  # noqa: E402

_REACH_SECONDS = 10.0
_CPU_CORES = 2  # of a trial where there is no GPU
_MEMORY = 0.9  # of a GPU that its trials share; the rest is for CUDA itself


class _Trial:
    """An actor: it lives where its trial runs, for as long."""

    def __init__(self, job: jobs.Job, folder: str, environment: dict[str, str]):
        os.chdir(folder)
        self._child = local.Child(job.command, job.log, environment)

    def poll(self) -> int | None:
        return self._child.poll()

    def stop(self) -> None:
        self._child.stop()


class _Remote:
    """`driver.Process` of an actor."""

    def __init__(self, actor: Any):
        self._actor, self._asked, self._has_started = actor, actor.poll.remote(), False

    def poll(self) -> int | None:
        ready, _ = ray.wait([self._asked], timeout=0)
        if not ready:  # waits for its turn
            return None
        try:
            code = ray.get(self._asked)
        except ray.exceptions.RayError:  # its node or its actor is gone
            return jobs.KILLED
        self._has_started = True
        if code is None:
            self._asked = self._actor.poll.remote()
        else:
            ray.kill(self._actor)  # gives back what it had
        return code

    def has_started(self) -> bool:
        return self._has_started

    def stop(self) -> None:
        if self._has_started:
            with contextlib.suppress(ray.exceptions.RayError):  # `poll` will say that it is gone
                ray.get(self._actor.stop.remote())
        else:  # waits for its turn
            ray.kill(self._actor)


def run(
    todo: Sequence[jobs.Job], retries: int, look: jobs.Look, resources: jobs.Resources
) -> Iterator[jobs.Outcome]:
    """Runs as many of `todo` at a time as there is room for; see `jobs`.

    Raises:
      UsageError: the resources of a trial are more than there are.
      InputError: Ray cannot be reached.
      Stopped: a signal came; the trials that ran have saved their state.
    """
    with _connected(resources.ray_address) as there_are:
        options, environment = _for_each(resources, there_are)
        actor = ray.remote(_Trial).options(max_restarts=0, **options)

        def start(batch: Sequence[jobs.Job]) -> list[_Remote]:
            return [_Remote(actor.remote(job, os.getcwd(), environment)) for job in batch]

        yield from driver.drive(todo, retries, look, start)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[dict[str, float]]:
    """What the cluster at `address` has; '' starts Ray on this machine, for as long."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    # Ray's processes load this file from the same place.
    places = [str(pathlib.Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, places))
    _check_reachable(address)
    try:
        with _forks_allowed():
            ray.init(
                address=address or "local",
                include_dashboard=False if not address else None,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": path}},
                logging_level="ERROR",
            )
    except Exception as error:  # whatever kept it from starting; some of its processes may run
        ray.shutdown()
        text = one_line(error, 200)
        if address:
            raise InputError(
                f"--ray_address={address}: Ray cannot be reached ({text}). Check the address and, "
                "if the cluster asks for a token, RAY_AUTH_TOKEN."
            ) from error
        raise InputError(f"--engine=ray: Ray cannot be started here ({text}).") from error
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuses a HOST:PORT where nothing answers: Ray would ask it again and again.

    Raises:
      InputError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if "://" in address or not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--ray_address={address}: cannot be reached ({error}). Check the address, and that "
            "Ray runs there."
        ) from error


@contextlib.contextmanager
def _forks_allowed() -> Iterator[None]:
    """Keeps JAX from warning that this process forks.

    It warns of forks that go on to use its threads' locks. Those of Ray become its servers at once.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        yield


def _for_each(
    resources: jobs.Resources, there_are: dict[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """What a trial asks Ray for, and its environment.

    Raises:
      UsageError: it is more than there is.
    """
    gpus, cpus = there_are.get("GPU", 0), there_are.get("CPU", 1)
    cores = resources.cores or (1 if gpus else int(min(_CPU_CORES, cpus)))
    if cores > cpus:
        raise UsageError(f"--cores is {cores}, but Ray has {cpus:.0f} CPU cores.")
    if gpus:
        memory = f"{_MEMORY * resources.share:.3f}"
        options = {"num_gpus": resources.share, "num_cpus": cores}
        return options, {"XLA_PYTHON_CLIENT_MEM_FRACTION": memory}
    if resources.share != 1.0:
        raise UsageError("--share is of a GPU, and Ray has none; omit it.")
    # XLA has as many threads as NPROC says.
    return {"num_cpus": cores}, {"NPROC": str(cores)}

"""Several processes, on one host or on many, that train one network together.

Every process runs the same program on the same files. Process 0 alone writes what is not a
checkpoint; the others wait for it where they need what it wrote. All of it does nothing where there
is one process.
"""

import contextlib
import itertools
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import distributed  # its key-value store has no public name; Orbax takes it here, too
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dtc_jax.errors import InputError, Stopped, UsageError, one_line

AUTO = "auto"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A process that is silent for so long counts as dead, and JAX ends the others.
_HEARTBEAT_SECONDS = 30
_START_SECONDS = 300  # until the last process must have started
_END_SECONDS = 10  # that a process waits for the others at its end
_POLL_SECONDS = 0.2
_LAG = 2  # steps between a signal and the stop
_DONE, _STOPPED = "done", "stopped"

T = TypeVar("T")


def join(coordinator: str, processes: int | None = None, process_id: int | None = None) -> None:
    """Makes this process one of several; to be called before anything else of JAX.

    Args:
      coordinator: HOST:PORT of process 0; or 'auto' to take it, and the other two, from Slurm, Open
        MPI, or the environment of a cloud.
      processes: how many there are.
      process_id: of this one, from 0.

    Raises:
      UsageError: the three do not fit together.
      InputError: the others cannot be reached.
    """
    is_auto = coordinator == AUTO
    if is_auto and (processes is not None or process_id is not None):
        raise UsageError("--coordinator=auto finds --processes and --process_id; omit them.")
    if not is_auto and (not coordinator.rpartition(":")[0] or processes is None):
        raise UsageError("--coordinator is HOST:PORT, with --processes; or auto.")
    if not is_auto and (process_id is None or processes is None or not process_id < processes):
        raise UsageError("--process_id must be a number from 0 to one less than --processes.")
    is_local = coordinator.rpartition(":")[0].strip("[]") in _LOOPBACK
    # JAX's own handler of SIGTERM would take the place of ours.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            None if is_auto else coordinator,
            processes,
            process_id,
            cluster_detection_method=None if is_auto else "deactivate",
            initialization_timeout=_START_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_END_SECONDS,
            coordinator_bind_address=coordinator if is_local else None,
        )
    except (RuntimeError, ValueError) as error:
        text = one_line(error, 200)
        advice = (
            "nothing here says so; give --coordinator=HOST:PORT, --processes and --process_id"
            if is_auto
            else "start all processes, with the same --coordinator and --processes"
        )
        raise InputError(f"--coordinator={coordinator}: {advice} ({text}).") from error
    if not is_first():
        from dtc_jax import progress  # needs tqdm, which a step alone does not

        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  process 0 speaks, but for errors
        progress.leave_to_another()


def count() -> int:
    """How many processes there are."""
    return jax.process_count()


def rank() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Whether this process writes what is not a checkpoint."""
    return jax.process_index() == 0


_calls = itertools.count()  # of `first`, in the same order in every process


def first(work: Callable[[], T]) -> T | None:
    """Does `work` in process 0, while the others wait; None in those.

    Raises:
      Whatever `work` raises; in the others InputError or Stopped, with its message.
    """
    if count() == 1:
        return work()
    key, store = f"dtc_jax/first/{next(_calls)}", cast(Any, distributed.global_state.client)
    if is_first():
        try:
            result = work()
        except BaseException as error:
            is_stop = isinstance(error, (KeyboardInterrupt, Stopped))
            store.key_value_set(key, _STOPPED if is_stop else str(error) or type(error).__name__)
            _await_readers(store, key)
            raise
        store.key_value_set(key, _DONE)
        return result
    answer = _await(store, key)
    if answer != _DONE:
        store.key_value_set(f"{key}/{jax.process_index()}", _DONE)
    if answer == _STOPPED:
        raise Stopped("Process 0 was stopped. Run the same commands again to go on from here.")
    if answer != _DONE:
        raise InputError(f"process {jax.process_index()} stops because process 0 failed: {answer}")
    return None


def agree(text: Callable[[], str], what: str) -> None:
    """Refuses to go on in a process that has another text than process 0.

    Args:
      text: gives that of this process, such as its configuration as JSON.
      what: it is, for the message.

    Raises:
      InputError: this process has another one.
    """
    if count() == 1:
        return
    key, store = f"dtc_jax/agree/{next(_calls)}", cast(Any, distributed.global_state.client)
    if is_first():
        store.key_value_set(key, text())
    elif _await(store, key) != text():
        raise InputError(
            f"process {jax.process_index()} and process 0 differ in their {what}; start all "
            "processes with the same arguments, and with the same files on a shared disk."
        )


def _await(store: Any, key: str, end: float = math.inf) -> str:
    """The value of a key once it has one, or '' at `end` of the clock."""
    while time.monotonic() < end:  # rather than block, which would be deaf to signals
        try:
            return str(store.key_value_try_get(key))
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" not in str(error):
                raise
        time.sleep(_POLL_SECONDS)
    return ""


def _await_readers(store: Any, key: str) -> None:
    """Lets the others read why process 0 ends: the store ends with it, and JAX then kills them."""
    end = time.monotonic() + _END_SECONDS
    for number in range(1, count()):
        _await(store, f"{key}/{number}", end)
    time.sleep(5 * _POLL_SECONDS)  # until they have said so


def in_turn(work: Callable[[], T]) -> T:
    """Does `work` in process 0, then in the others, which find what it wrote.

    Raises:
      See `first`.
    """
    result = first(work)
    return cast(T, result) if is_first() else work()


@contextlib.contextmanager
def held_by_first(
    make: Callable[[], contextlib.AbstractContextManager[T]], otherwise: T
) -> Iterator[T]:
    """Enters a context in process 0 alone; the others have `otherwise`, once it is entered."""
    with contextlib.ExitStack() as stack:
        entered = first(lambda: stack.enter_context(make()))
        yield otherwise if entered is None else entered


def from_rows(sharding: NamedSharding, rows: np.ndarray) -> jax.Array:
    """The array of which each process has some rows, in the order of the processes.

    Args:
      sharding: of the first axis, over the devices of all processes.
      rows: of this process. # [B / processes, ...] -> [B, ...]

    JAX takes this for an implicit transfer.
    """
    with jax.transfer_guard_host_to_device("allow"):
        return jax.make_array_from_process_local_data(sharding, rows)


class Agreement:
    """Whether a process was asked to stop: the same answer in all processes, at the same step."""

    def __init__(self, mesh: Mesh):
        """Args: mesh: of the devices of all processes."""
        self._asked: list[jax.Array] = []
        self._rows = sum(d.process_index == jax.process_index() for d in mesh.devices.flat)
        self._split = NamedSharding(mesh, P(mesh.axis_names))
        self._largest = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, P()))

    def ask(self, stop: bool) -> bool:
        """To be called once a step, by all; where there are several, the answer takes two steps.

        To wait for it at once would leave the devices without work.
        """
        if count() == 1:
            return stop
        flags = np.full(self._rows, stop, np.int32)
        self._asked.append(self._largest(from_rows(self._split, flags)))
        if len(self._asked) <= _LAG:
            return False
        return bool(jax.device_get(self._asked.pop(0).addressable_data(0)))


def may_wait(error: type[BaseException] | None) -> bool:
    """Whether a process that ends by `error` may wait for the others, which do the same."""
    return count() == 1 or error is None or issubclass(error, Stopped)


@contextlib.contextmanager
def ended_together() -> Iterator[None]:
    """Ends this process at once where it fails: the others would wait for it, or it for them.

    They lose it in their next step, and end as well. A stop by a signal, at the same step in all,
    is no failure.
    """
    try:
        yield
    except BaseException as error:
        if may_wait(type(error)):
            raise
        sys.stdout.flush()
        print(f"{os.path.basename(sys.argv[0])}: {_why(error)}", file=sys.stderr, flush=True)
        os._exit(_exit_code(error))  # threads that wait for the others would hold it


def _why(error: BaseException) -> str:
    if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
        text = one_line(error, 160)
        return (
            f"process {jax.process_index()} lost contact with another of the {count()} processes; "
            f"see its messages ({text}). Run the same commands again to go on from the last "
            "checkpoint."
        )
    if isinstance(error, KeyboardInterrupt):
        return "Stopped; run the same commands again to go on from here."
    if not isinstance(error, InputError):
        traceback.print_exception(error)
    return one_line(error) or type(error).__name__


def _exit_code(error: BaseException) -> int:
    stopped = Stopped.exit_code if isinstance(error, KeyboardInterrupt) else InputError.exit_code
    return int(getattr(error, "exit_code", stopped))

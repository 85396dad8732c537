"""Work on all cores, with the results in order."""

import collections
import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dtc_jax.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

_ALONE_SECONDS = 2.0  # what starting processes costs; shorter work is done without them


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(function: Callable[[T], R], items: Sequence[T], processes: int = 0) -> Iterator[R]:
    """Yields function(item) for every item in order, computed by several processes.

    A few results at most wait to be taken, so that memory does not grow with the work.

    Args:
      function: picklable.
      items: picklable; of a size that makes sending them worthwhile.
      processes: at most; 0: one for each core.

    Raises:
      InputError: a process was killed.
    """
    processes = min(processes or cores(), len(items))
    start = time.monotonic()
    for done, item in enumerate(items):
        if processes > 1 and time.monotonic() - start > _ALONE_SECONDS:
            yield from _in_processes(function, items[done:], processes)
            return
        yield function(item)


def refuse_unguarded_script() -> None:
    """Ends a worker process that has begun to run the caller's script a second time.

    A fresh process imports the script that started it. Where that script does its work without
    asking for its name, the worker would wait for the lock of the process that waits for it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing asks
        sys.exit(
            "A worker process has started your script again. Put what the script does below "
            "if __name__ == '__main__': and run it again."
        )


def _in_processes(function: Callable[[T], R], items: Sequence[T], processes: int) -> Iterator[R]:
    # Fresh processes: forking one in which JAX's threads run can hang.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(processes, context, _follow_parent)
    try:
        to_come = iter(items)
        running = collections.deque(
            pool.submit(function, item) for item in itertools.islice(to_come, 4 * processes)
        )
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(function, item) for item in itertools.islice(to_come, 1))
            yield result
    except concurrent.futures.process.BrokenProcessPool as error:
        raise InputError(
            "a worker process ended: see its message above. If there is none, it was probably "
            "killed because memory ran out; use fewer processes (--num-processes)."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

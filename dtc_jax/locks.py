"""A lock for which other processes wait, and say so."""

import fcntl
import sys


def wait_for(handle: int, what: str) -> None:
    """Locks an open file or folder for this process, until `handle` is closed or the process ends.

    Args:
      handle: its descriptor.
      what: is waited for, where another process has the lock; it is said on stderr.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for {what} …", file=sys.stderr, flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)

"""Progress of long work: a bar with the remaining time on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

import tqdm

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 15.0


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yields `items` and shows on stderr how many are done, their total, and the time left."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm.tqdm(items, desc=label, total=total, leave=False)
        return
    start = last_line = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last_line >= _SECONDS_BETWEEN_LINES:
            last_line = now
            left = f", {(now - start) / done * (total - done):.0f} s left" if total else ""
            print(f"{label}: {done}/{total or '?'}{left}", file=sys.stderr, flush=True)

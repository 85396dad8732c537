"""Progress of long work: a bar with the remaining time on a terminal, plain lines otherwise."""

import io
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

import tqdm

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_STATES = 60.0
_is_shown = True


def accept_any_terminal() -> None:
    """Makes the output escape what the terminal cannot show, instead of ending in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def leave_to_another() -> None:
    """Has `track` show nothing in this process: another one does the same work, and shows it."""
    global _is_shown
    _is_shown = False


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yields `items` and shows on stderr how many are done, their total, and the time left."""
    if not _is_shown:
        yield from items
        return
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


def time_left(seconds: float) -> str:
    """The time left, as it stands behind a line: `  40 s left`."""
    return f"  {seconds:.0f} s left" if seconds < 600 else f"  {seconds / 60:.0f} min left"


def duration(seconds: float) -> str:
    """In words, as exact as an estimate is: 'under a minute', 'about 31 min', 'about 10 h'."""
    minutes = seconds / 60
    if minutes < 1:
        return "under a minute"
    if minutes < 90:
        return f"about {minutes:.0f} min"
    return (
        f"about {minutes / 60:.0f} h" if minutes < 48 * 60 else f"about {minutes / 1440:.0f} days"
    )


class Live:
    """Lines on stderr that say how work stands. Use it in a `with` block.

    On a terminal they replace those of before; elsewhere they are printed every minute.
    """

    def __init__(self) -> None:
        self._bars: list[tqdm.tqdm] = []
        self._last = 0.0

    def __enter__(self) -> "Live":
        self._last = time.monotonic()
        return self

    def __exit__(self, *unused: object) -> None:
        for bar in reversed(self._bars):
            bar.close()

    def show(self, *lines: str) -> None:
        """Shows how the work stands: a heading, and as many lines as there are."""
        if sys.stderr.isatty():
            for place in range(len(self._bars), len(lines)):
                self._bars.append(tqdm.tqdm(bar_format="{desc}", position=place, leave=False))
            for place, bar in enumerate(self._bars):
                bar.set_description_str(lines[place] if place < len(lines) else "")
        elif time.monotonic() - self._last >= _SECONDS_BETWEEN_STATES:
            self._last = time.monotonic()
            print("\n".join(lines), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        if self._bars:
            self._bars[0].write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

"""SIGTERM and SIGINT as a flag that the loop looks at where it can stop cleanly."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupt:
    """Set once a signal asked the work to end.

    Attributes:
      name: the signal's name, '' while none came.
    """

    def __init__(self) -> None:
        self.name = ""

    def __bool__(self) -> bool:
        return bool(self.name)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def watch() -> Iterator[Interrupt]:
    """Yields an `Interrupt` that the signals set; the former handlers are put back at the end.

    Python lets only the main thread set handlers; elsewhere the flag simply stays unset.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    former = {number: signal.signal(number, interrupt._receive) for number in _SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

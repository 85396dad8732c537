"""Peers that take turns, and what becomes of one that fails."""

import dataclasses
import gc
import math
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SAMPLES = 5
_MOST_TURNS = 500  # of one sample
_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "Out of memory", "OutOfMemory")


@dataclasses.dataclass
class Peer:
    """Something that can be run and timed.

    Attributes:
      run: does it that many times and waits for the last one.
      compile_s: seconds until the end of its first call.
      peak_gib: memory that it needs; None where that is not known.
      note: what else is to be said of it.
      before: called before each sample, outside its time.
      least_turns: of a sample.
    """

    run: Callable[[int], None]
    compile_s: float | None = None
    peak_gib: float | None = None
    note: str = ""
    before: Callable[[], None] = lambda: None
    least_turns: int = 1


def attempt(make: Callable[[], T]) -> T | str:
    """What `make` gives, or in a few words why it failed."""
    try:
        return make()
    except Exception as error:  # whatever it is, the rows after this one must be measured
        text = f"{type(error).__name__}: {error}"
    gc.collect()
    if any(word in text for word in _MEMORY):
        return "out of memory"
    return f"failed: {' '.join(text.split())[:200]}"


def medians(peers: dict[str, Peer], least_s: float, samples: int = SAMPLES) -> dict[str, float]:
    """Seconds a turn of each, the median of `samples`; the peers take turns.

    Args:
      peers: each already run once.
      least_s: seconds that a sample takes at the least, so that the clock does not matter.
      samples: of each.
    """
    turns: dict[str, int] = {}
    taken: dict[str, list[float]] = {}
    for name, peer in peers.items():
        once = _seconds(peer, 1)
        wanted = min(_MOST_TURNS, math.ceil(least_s / once))
        turns[name] = max(wanted, peer.least_turns)
        taken[name] = [once] if turns[name] == 1 else []  # what takes long enough is a sample
    for _ in range(samples):
        for name, peer in peers.items():
            if len(taken[name]) < samples:
                taken[name].append(_seconds(peer, turns[name]) / turns[name])
    return {name: statistics.median(values) for name, values in taken.items()}


def _seconds(peer: Peer, turns: int) -> float:
    peer.before()
    start = time.perf_counter()
    peer.run(turns)
    return time.perf_counter() - start

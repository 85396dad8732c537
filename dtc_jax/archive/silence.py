"""Libraries whose log would hold addresses, UIDs and names."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silent(*names: str) -> Iterator[None]:
    """Nothing of the loggers of these names is logged."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)

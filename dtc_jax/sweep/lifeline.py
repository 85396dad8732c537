"""A trial ends when the process that started it is gone, however that ended.

SIGKILL leaves a process no time to pass a signal on, and the trial would go on alone. So the one
that starts it holds the writing end of a pipe, and the trial reads: the system closes the pipe with
the process. A pipe, since it asks nothing of the platform, and since Linux's own signal to children
(PR_SET_PDEATHSIG) already comes with the end of the thread that started them.
"""

import os
import signal
import threading
import time
from collections.abc import MutableMapping

from dtc_jax.errors import Stopped

_VARIABLE = "DTC_JAX_LIFELINE"  # the number of the reading end
GRACE_SECONDS = 60.0  # to save the state; the next call of the sweep wants the work directory


class Lifeline:
    """A pipe to one command. Its end here is closed by `close`, or with this process."""

    def __init__(self) -> None:
        """Opens it."""
        self.reading, self._writing = os.pipe()

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which the command finds its end, `reading`."""
        return {_VARIABLE: str(self.reading)}

    def close_reading_end(self) -> None:
        """Closes this process's copy of the reading end, once the command has its own."""
        os.close(self.reading)

    def close(self) -> None:
        """Closes the end of this process, when the command has ended."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


def follow(environment: MutableMapping[str, str] = os.environ) -> None:
    """Ends this process when the one that gave it a lifeline is gone; without one, does nothing.

    It gets SIGTERM, as if by its sweep: a training saves its state. If it has not ended a minute
    later, it is ended.

    Args:
      environment: loses the variable, so that processes that this one starts do not look for it.
    """
    number = environment.pop(_VARIABLE, "")
    if number:
        threading.Thread(target=_wait, args=(int(number),), daemon=True).start()


def _wait(reading: int) -> None:
    try:
        os.read(reading, 1)  # nothing is written: this returns when the pipe is closed
    except OSError:  # not the pipe: what started this one kept only the variable
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(Stopped.exit_code)

"""Errors a user can act on. `launch.py` prints their message alone and exits with `exit_code`."""

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator


class InputError(Exception):
    """Bad input. The message names the file, the row or the field, and says what to do."""

    exit_code = 1


class UsageError(InputError):
    """Wrong use of the command line or of a config field."""

    exit_code = 2


class Stopped(Exception):
    """A signal ended the work after its state was saved; the same command goes on from there."""

    exit_code = 75


def unknown_choice(field: str, value: object, choices: Iterable[str]) -> UsageError:
    """The error to raise where `field` is none of `choices`; it names them and the nearest one."""
    choices = list(choices)
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"{field} is {value!r}; it must be one of {', '.join(choices)}.{hint}")


@contextlib.contextmanager
def no_memory_is_an_input_error(what: str, advice: str) -> Iterator[None]:
    """Turns want of memory, also that of an accelerator, into an `InputError`.

    Args:
      what: does not fit, and how large it is; begins the message.
      advice: what to do.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, OSError):
            known, text = error.errno == errno.ENOMEM, ""  # its own would name a file
        else:
            text = " ".join(str(error).split())
            known = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text  # XLA's
        if not known:
            raise
        detail = f" ({text[:200]})" if text else ""
        raise InputError(f"{what} does not fit into memory{detail}. {advice}") from error

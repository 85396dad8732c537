"""Errors a user can act on. `launch.py` prints only their message and exits with `exit_code`."""

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator


class InputError(Exception):
    """Invalid input. The message names the file, the row or the field, and says what to do."""

    exit_code = 1


class UsageError(InputError):
    """Wrong use of the command line or of a config field."""

    exit_code = 2


class Stopped(Exception):
    """A signal stopped the work after its state was saved; the same command resumes it."""

    exit_code = 75


def one_line(text: object, most: int | None = None) -> str:
    """`text`, such as an error of a library, without line breaks and repeated blanks.

    Args:
      text: anything with a text.
      most: characters; the rest is cut off. None: all of them.
    """
    return " ".join(str(text).split())[:most]


def unknown_choice(field: str, value: object, choices: Iterable[str]) -> UsageError:
    """The error for a `value` that is not one of `choices`; it suggests the closest one."""
    choices = list(choices)
    closest = difflib.get_close_matches(str(value), choices, n=1)
    hint = f" Did you mean {closest[0]!r}?" if closest else ""
    return UsageError(f"{field} is {value!r}; it must be one of {', '.join(choices)}.{hint}")


@contextlib.contextmanager
def no_memory_is_an_input_error(what: str, advice: str) -> Iterator[None]:
    """Turns running out of memory, also on an accelerator, into an `InputError`.

    Args:
      what: what does not fit, and how large it is; begins the message.
      advice: what to do.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, OSError):
            is_memory, text = error.errno == errno.ENOMEM, ""  # its text would name a file
        else:
            text = one_line(error)
            is_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text  # of XLA
        if not is_memory:
            raise
        detail = f" ({text[:200]})" if text else ""
        raise InputError(f"{what} does not fit into memory{detail}. {advice}") from error


@contextlib.contextmanager
def no_library_is_an_input_error(what: str) -> Iterator[None]:
    """Turns a library that is not installed into an `InputError`.

    Args:
      what: what needs it; begins the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] == "dtc_jax":
            raise
        raise InputError(
            f"{what}: needs {error.name}, which is not installed; run pip install dtc-jax, which "
            "brings all that it depends on. An installation for bundles alone only predicts."
        ) from error


@contextlib.contextmanager
def a_long_name_is_an_input_error() -> Iterator[None]:
    """Turns a path that no file system takes into an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(
            f"{error.filename}: the name is too long; choose a shorter one."
        ) from error

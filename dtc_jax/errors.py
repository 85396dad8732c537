"""Errors a user can act on. `launch.py` prints their message alone and exits with `exit_code`."""


class InputError(Exception):
    """Bad input. The message names the file, the row or the field, and says what to do."""

    exit_code = 1


class UsageError(InputError):
    """Wrong use of the command line or of a config field."""

    exit_code = 2


class Stopped(Exception):
    """A signal ended the work after its state was saved; the same command goes on from there."""

    exit_code = 75

"""Reads a command line; whatever is wrong with one is a `UsageError` of one line."""

import os
import re

import ml_collections
from absl import flags

from dtc_jax.errors import UsageError, one_line

# How Python says that the value of a flag is of another kind, and how a user is told.
_KINDS = {
    r": invalid literal for int\(\).*": " is not a whole number.",
    r": could not convert string to float.*": " is not a number.",
    r": \('Non-boolean argument to boolean flag'.*": " is neither True nor False.",
}


def parse(argv: list[str], config: flags.FlagHolder) -> None:
    """Parses the flags of absl, and the configuration file that one of them names.

    Args:
      argv: of the program.
      config: the flag --config, of `ml_collections.config_flags`.

    Raises:
      UsageError: a flag or the configuration cannot be used; in one line.
    """
    argument = _config_argument(argv)
    path = (argument or "").partition(":")[0]
    if argument is not None and not os.path.isfile(path):
        raise usage(f"--config={path}: no such config file; give one of those in configs/.")
    try:
        rest = flags.FLAGS(argv)[1:]
    except flags.Error as error:
        # ml_collections puts the traceback of a config's own ValueError or TypeError in its text.
        raise usage(_first(error) if "Traceback" in str(error) else _worded(str(error))) from error
    except Exception as error:  # whatever a config raises
        first = _first(error)
        if isinstance(first, KeyError):
            text = re.sub(r"'\s+Did you", "'. Did you", str(_innermost(error)))
            raise usage(f"{path}: no such field: {text}") from error
        raise usage(f"{path}: cannot be loaded: {type(first).__name__}: {first}") from error
    if rest:
        raise usage(f"{' '.join(rest)!r} is not a flag; every option is written --name=value.")
    if argument is not None and not isinstance(config.value, ml_collections.ConfigDict):
        raise usage(f"{path}: get_config() must return a ConfigDict of ml_collections.")


def _worded(text: str) -> str:
    """The message of a flag that cannot be read, without Python's own words."""
    for of_python, ours in _KINDS.items():
        text = re.sub(of_python, ours, text, flags=re.DOTALL)
    return text


def _first(error: BaseException) -> BaseException:
    """The error that led to the others."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _innermost(error: object) -> object:
    """The text of an error that is made of another."""
    while isinstance(error, BaseException):
        error = error.args[0]
    return error


def usage(message: object) -> UsageError:
    """The error with a message, whose line breaks are blanks."""
    return UsageError(one_line(message))


def _config_argument(argv: list[str]) -> str | None:
    """FILE[:VARIANT] of --config."""
    found = re.findall(r"^--?config[=\n](.*)", "\n".join(argv[1:]), re.MULTILINE)
    return found[-1] if found else None


def config_name(argv: list[str]) -> str:
    """What a run is called by its --config: `configs/senet.py:demo` gives `senet-demo`."""
    path, _, variant = (_config_argument(argv) or "").partition(":")
    name = path.rsplit("/", 1)[-1].removesuffix(".py")
    return f"{name}-{variant}" if variant else name

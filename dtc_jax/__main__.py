"""The command `dtc-jax MODE --flag=VALUE …`: launch.py with its mode as a word.

    dtc-jax train --config=configs/senet.py:demo --workdir=runs/demo
    dtc-jax predict --scan=CT --segmenter=RUN --classifier=RUN --out=DIR

A path that begins with `configs/` and is no file here is one of the files that ship with it.
"""

import importlib.util
import pathlib
import re
import sys

_SHIPPED = re.compile(r"(?:--?(?:config|sweep|claims)=)?(?P<path>configs/[^:]+)(?::.*)?")


def main() -> int:
    """The entry point; returns the exit code."""
    try:
        from launch import main as launch
    except ModuleNotFoundError as error:
        if error.name != "launch":
            raise
        print(
            "dtc-jax: works where it was installed from a wheel; in a clone, run python launch.py.",
            file=sys.stderr,
        )
        return 2
    mode, rest = sys.argv[1:2], sys.argv[2:]
    if mode and not mode[0].startswith("-"):
        mode = [f"--mode={mode[0]}"]
    sys.argv = ["dtc-jax", *mode, *map(_found, rest)]  # ml_collections reads them there
    return launch(sys.argv, "dtc-jax", ("-m", "dtc_jax"))


def _found(argument: str) -> str:
    """`argument` with the path of the file that ships, where it names one that is not here."""
    match = _SHIPPED.fullmatch(argument)
    spec = importlib.util.find_spec("dtc_jax.configs")
    if match is None or pathlib.Path(match["path"]).is_file() or spec is None:
        return argument
    for folder in map(pathlib.Path, spec.submodule_search_locations or []):
        shipped = folder.parent / match["path"]
        if shipped.is_file():
            return argument.replace(match["path"], str(shipped), 1)
    return argument


if __name__ == "__main__":
    sys.exit(main())

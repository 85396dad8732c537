"""The command line: flags and dispatch, no logic.

python launch.py --config=configs/senet.py:demo          train, judge, print where the results lie
python launch.py --mode=evaluate --workdir=runs/senet-demo
"""

import sys

from absl import flags
from ml_collections import config_flags

from dtc_jax.errors import InputError, Stopped, UsageError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "FILE[:VARIANT]; single fields are set by --config.a.b=VALUE."
)
_MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "What to do.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/CONFIG[-VARIANT].")


def main(argv: list[str]) -> int:
    """Runs one mode and returns the exit code: 0 done, 1 failed, 2 wrong use, 75 stopped."""
    try:
        _parse(argv)
        from dtc_jax import runs  # after the flags: JAX takes seconds to import

        if _MODE.value == "train":
            runs.train(_CONFIG.value, _WORKDIR.value or f"runs/{_config_name()}")
        elif _MODE.value == "evaluate":
            runs.evaluate(_WORKDIR.value)
    except (InputError, Stopped) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("launch.py: interrupted before there was anything to save.", file=sys.stderr)
        return 130
    return 0


def _parse(argv: list[str]) -> None:
    """Parses the flags; everything that can be wrong with them is one line and exit code 2."""
    try:
        rest = flags.FLAGS(argv)[1:]
    except Exception as error:  # absl, ml_collections and the config file raise what they like
        raise UsageError(" ".join(str(error).split())) from error
    if rest:
        raise UsageError(f"{' '.join(rest)!r} is not a flag; every option is written --name=value.")
    if _MODE.value == "train" and _CONFIG.value is None:
        raise UsageError(
            "--mode=train needs --config=FILE, for example --config=configs/senet.py:demo."
        )
    if _MODE.value == "evaluate" and _WORKDIR.value is None:
        raise UsageError("--mode=evaluate needs --workdir=DIR, the folder of a trained run.")


def _config_name() -> str:
    """`configs/senet.py:demo` gives `senet-demo`."""
    path, _, variant = flags.FLAGS["config"].config_filename.partition(":")
    name = path.rsplit("/", 1)[-1].removesuffix(".py")
    return f"{name}-{variant}" if variant else name


if __name__ == "__main__":
    sys.exit(main(sys.argv))

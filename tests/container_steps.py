"""Runs the steps of the Dockerfile in a clean folder, where no container engine is at hand.

    python -m tests.container_steps FOLDER [NAME=VALUE …]

NAME=VALUE are build arguments. Files are copied as `.dockerignore` allows it, and every absolute
path of the image lies in FOLDER. What this cannot show is the base image: Python and the libraries
of the system are those of this machine.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
# What the steps make; other absolute paths are those of the system.
_OWN = re.compile(r"(?<![\w./}])(?=/(?:src|opt|work|tmp)\b)")
# How the network is reached and where downloads are kept stays; what this environment is does not.
_LEFT_OUT = ("PYTHON", "VIRTUAL_ENV", "JAX", "XLA", "PYTEST")


@dataclasses.dataclass(frozen=True)
class Image:
    """What the steps have made: the folder, and how the program is started in it."""

    folder: pathlib.Path
    env: dict[str, str]
    entrypoint: tuple[str, ...]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Calls the entry point, in its working directory, without a network where Linux allows."""
        return subprocess.run(
            [*_without_network(), *self.entrypoint, *arguments],
            cwd=self.folder / "work",
            env=self.env,
            capture_output=True,
            text=True,
        )


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile and its arguments, without comments, in one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def context() -> list[pathlib.Path]:
    """The files that a build is given: those that `.dockerignore` names by `!`."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert wanted[0] == "*"
    allowed = [ROOT / line[1:] for line in wanted if line.startswith("!")]
    files = [file for one in allowed for file in ([one] if one.is_file() else one.rglob("*"))]
    return [file for file in files if file.is_file() and "__pycache__" not in file.parts]


def build(folder: pathlib.Path, **arguments: str) -> Image:
    """Runs the steps of the Dockerfile in `folder`, which is made.

    Args:
      folder: not there yet.
      **arguments: of the build.
    """
    folder.mkdir(parents=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith(_LEFT_OUT)}
    entrypoint: tuple[str, ...] = ()
    for name, rest in instructions((ROOT / "Dockerfile").read_text()):
        if name == "ARG":
            key, _, default = rest.partition("=")
            env[key] = arguments.get(key, default)
        elif name == "COPY" and not rest.startswith("--from="):
            _, target = rest.split()
            for file in context():
                place = folder / target.strip("/") / file.relative_to(ROOT)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        elif name == "RUN":
            subprocess.run(["sh", "-ec", _moved(rest, folder)], cwd=folder, env=env, check=True)
        elif name == "ENV":
            for key, value in re.findall(r"(\w+)=(\S+)", rest):
                env[key] = _moved(value, folder).replace("${PATH}", env["PATH"])
        elif name == "WORKDIR":
            (folder / rest.strip("/")).mkdir()
        elif name == "ENTRYPOINT":
            program, *others = json.loads(rest)
            entrypoint = (shutil.which(program, path=env["PATH"]) or program, *others)
    pathlib.Path(env["HOME"]).mkdir(exist_ok=True)
    return Image(folder, env, entrypoint)


def _without_network() -> tuple[str, ...]:
    """What a command is begun with, so that it sees no network; () where that is not allowed."""
    if not shutil.which("unshare"):
        return ()
    for command in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return ()


def _moved(text: str, folder: pathlib.Path) -> str:
    """A command whose absolute paths of the image lie in `folder`."""
    return _OWN.sub(str(folder), text)


if __name__ == "__main__":
    made = build(pathlib.Path(sys.argv[1]), **dict(one.split("=", 1) for one in sys.argv[2:]))
    sys.exit(made.run("--help").returncode)

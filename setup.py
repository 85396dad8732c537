"""What setup.cfg cannot say: in a wheel, all that stands beside `dtc_jax/` stands inside it.

A top-level `datasets` or `configs` would shadow other libraries. So `configs/`, `datasets/` and
`launch.py` become `dtc_jax.configs`, `dtc_jax.datasets` and `dtc_jax.launch`, and whatever imports
them does so by these names. A clone, installed as editable, stays as it is.
"""

import pathlib
import re

from setuptools import setup
from setuptools.command.build_py import build_py

_BESIDE = ("configs/**/*.py", "configs/**/*.yaml", "datasets/**/*.py", "launch.py")
_NAMED = re.compile(r"(^\s*from|-m) (configs|datasets|launch)\b", re.MULTILINE)


class BuildPy(build_py):
    """Copies what stands beside the package into it, and lets the files import it there."""

    def run(self) -> None:
        """Builds the package."""
        super().run()
        if self.editable_mode:
            return
        package = pathlib.Path(self.build_lib, "dtc_jax")
        for pattern in _BESIDE:
            for path in pathlib.Path().glob(pattern):
                (package / path).parent.mkdir(parents=True, exist_ok=True)
                (package / path).write_bytes(path.read_bytes())
        for path in package.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            path.write_text(_NAMED.sub(r"\1 dtc_jax.\2", text), encoding="utf-8")


setup(cmdclass={"build_py": BuildPy})

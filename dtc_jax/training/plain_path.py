"""A path that Orbax can read, whatever characters the folder's own path has.

Orbax takes `[`, `*` and a backslash for a pattern when it reads a checkpoint back, and its C++ part
refuses names that are not UTF-8. Such a folder is therefore reached through a link in the system's
folder for temporary files.
"""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

from dtc_jax.storage import PathLike

_PLAIN = re.compile(r"[\w/ .,:;=+@%-]*")


@contextlib.contextmanager
def plain_path(folder: PathLike) -> Iterator[pathlib.Path]:
    """Yields an absolute path to `folder` without a special character; the folder is made.

    It is the folder's own path where that has none, else one through a link that lasts as long as
    the block.
    """
    own = pathlib.Path(folder).absolute()
    if is_plain(own):
        yield own
        return
    own.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dtc-jax-") as scratch:
        link = pathlib.Path(scratch) / "folder"
        link.symlink_to(own, target_is_directory=True)
        yield link


def is_plain(path: PathLike) -> bool:
    """Whether a path has only characters that mean themselves everywhere."""
    text = os.fspath(path)
    return bool(_PLAIN.fullmatch(text)) and text.isprintable()

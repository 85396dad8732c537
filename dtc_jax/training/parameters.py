"""A table of the parameters of a network: name, shape and number of each array."""

import math
import pathlib
from typing import Any

import jax

from dtc_jax import storage

FILE = "parameters.txt"


def table(params: Any) -> str:
    """One line an array, in the order of their names, and the total.

    Args:
      params: nested dicts of arrays, or of their shapes.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    rows = [
        (
            "/".join(str(key.key) for key in path),
            " × ".join(map(str, leaf.shape)) or "scalar",
            math.prod(leaf.shape),
        )
        for path, leaf in leaves
    ]
    total = sum(count for *_, count in rows)
    cells = [(name, shape, f"{count:,}") for name, shape, count in rows]
    cells = [("name", "shape", "parameters"), *cells, (f"total of {len(rows)}", "", f"{total:,}")]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}"
        for name, shape, count in cells
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def write_once(params: Any, folder: storage.PathLike) -> None:
    """Writes `table` to `folder`/parameters.txt, unless an earlier start of the run has."""
    path = pathlib.Path(folder) / FILE
    if not path.exists():
        storage.write_text(path, table(params))
